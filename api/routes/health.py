from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.deps import get_catalog, get_services
from api.responses import JsonAnswer
from kb.errors import Unavailable

router = APIRouter(prefix="/health", tags=["health"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    status: str


@router.get("/live", response_model=Health)
async def get_live() -> Response:
    """Whether the server runs. Touches nothing that could make it wait."""
    return JsonAnswer(Health(status="ok"))


@router.get("/ready", response_model=Health)
def get_ready(request: Request) -> Response:
    """Whether it can serve: the database answers and the data directory is there."""
    get_catalog(request).feed.get_epoch()
    blobs = get_services(request).store.blobs
    if not (blobs.root / "tmp").is_dir():
        raise Unavailable("data_directory_unavailable", "the data directory is gone; is its disk mounted?")
    return JsonAnswer(Health(status="ready"))
