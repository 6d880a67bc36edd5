"""From a file to vectors: load, split, embed, stage, publish."""
