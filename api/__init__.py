"""HTTP, command line and the composition root."""
