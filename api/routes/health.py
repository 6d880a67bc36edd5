from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.bootstrap.readiness import PartState
from api.deps import get_services
from api.errors import RETRY_AFTER_S, Problem, render_problem
from api.responses import JsonAnswer

router = APIRouter(prefix="/health", tags=["health"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """`degraded`: it serves, but a part that not everything needs is down."""

    status: Literal["ready", "degraded"]
    parts: Sequence[PartState]


@router.get("/live", response_model=Health)
async def get_live() -> Response:
    """Whether the server runs. Touches nothing that could make it wait."""
    return JsonAnswer(Health(status="ok"))


@router.get("/ready", response_model=Readiness)
async def get_ready(request: Request) -> Response:
    """Whether it can serve, and what is down: 503 when nothing can be served without it."""
    readiness = get_services(request).readiness
    parts = await readiness.look()
    down = [part for part in parts if part.state == "down"]
    for part in down:
        if readiness.is_needed(part.name):
            told = {"parts": [asdict(part) for part in parts]}
            headers = {"retry-after": RETRY_AFTER_S[503]}
            code, detail = part.code or "", part.detail or ""
            return render_problem(Problem(status=503, code=code, detail=detail, more=told, headers=headers))
    return JsonAnswer(Readiness(status="degraded" if down else "ready", parts=parts))
