"""Sources: folders that knowledge bases are kept in step with, and when."""
