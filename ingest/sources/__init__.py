"""Sources: what a folder holds now, compared with what is known of it."""
