"""Embedding models. torch has one door: `sentence_transformer.py`."""
