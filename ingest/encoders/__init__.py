"""Embedding models. Only `sentence_transformer.py` may import torch and sentence-transformers."""
