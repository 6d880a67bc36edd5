"""Embedding models. One door each: torch in `sentence_transformer.py`, httpx in `embedding_client.py`."""
