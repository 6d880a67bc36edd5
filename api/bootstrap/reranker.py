"""The reranker that KB_RERANKER names: none, a model on this machine, or one behind a server."""

from __future__ import annotations

from api.bootstrap.store import list_model_folders
from ingest.encoders.model_folder import find_model_folder
from kb.config import Settings, is_server
from kb.errors import StartRefused
from retrieval.rerank import LocalReranker
from retrieval.rerank_client import RemoteReranker, RerankServer


def build_reranker(settings: Settings) -> LocalReranker | RemoteReranker | None:
    """Loads and asks nothing: the first search does. The settings are checked."""
    address, model = settings.reranker, settings.reranker_model
    if address is None:
        return None
    if model is None:
        folders = list_model_folders(settings)
        return LocalReranker(address, lambda name: find_model_folder(name, folders))
    key = settings.reranker_api_key.get_secret_value() if settings.reranker_api_key else None
    return RemoteReranker(RerankServer(base_url=address, model=model, api_key=key or None))


def check_reranker(settings: Settings) -> None:
    """Raises StartRefused (`bad_setting`) for a reranker's server without its model, or a model without its server."""
    if settings.reranker is not None and is_server(settings.reranker):
        if settings.reranker_model is None:
            reason = "KB_RERANKER is a server's address but KB_RERANKER_MODEL names no model of it"
            raise StartRefused("bad_setting", f"{reason}: set it to one that it serves")
    elif settings.reranker_model is not None:
        reason = "KB_RERANKER_MODEL is set but KB_RERANKER is no http(s)://…/v1"
        raise StartRefused("bad_setting", f"{reason}: name the server, or unset the model")
