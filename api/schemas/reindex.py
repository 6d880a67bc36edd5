"""What a re-index is asked to do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.text import RequestBody


class ReindexBody(RequestBody):
    """`changed` syncs every source; `full` also splits and embeds anew what the settings changed."""

    mode: Literal["changed", "full"]
    embedding_model: str | None = Field(None, min_length=1, max_length=255)
    gate: bool = True
