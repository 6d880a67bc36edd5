"""Settings that are right each alone and wrong together, or that want what is not installed."""

from __future__ import annotations

from api.bootstrap.fetching import build_reach
from api.bootstrap.indexing import check_readers
from api.bootstrap.reranker import check_reranker
from api.bootstrap.services import check_chat
from api.bootstrap.store import check_embedding
from ingest.loaders import check_ocr
from kb.config import Settings


def check_settings(settings: Settings) -> None:
    """What `kb serve` looks at before it starts, and `kb doctor` first. Raises StartRefused (`bad_setting`)."""
    check_chat(settings)
    check_embedding(settings)
    check_reranker(settings)
    check_readers(settings.reader_classes)
    build_reach(settings)
    if settings.ocr == "on":
        check_ocr()
