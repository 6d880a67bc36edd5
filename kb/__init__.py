"""What a knowledge base is, and the record of it. Imports nothing else of this project."""
