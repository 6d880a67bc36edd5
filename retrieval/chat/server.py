"""Which chat server is meant, and how patient calls to it are."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from retrieval.chat.profiles import PROFILES, Profile


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatLimits:
    """Seconds, and numbers of calls. `idle_s` is between two arrivals of bytes: a slow healthy stream is cut by
    `total_s` alone. `calls` are made at once; `waiting` more wait for a place, for no longer than `first_token_s`."""

    connect_s: float = 5.0
    first_token_s: float = 30.0
    idle_s: float = 20.0
    total_s: float = 300.0
    retries: int = 2
    pause_s: float = 0.3  # before the first repetition, twice as long before the second
    longest_pause_s: float = 5.0  # whatever the server asks for
    calls: int = 256
    waiting: int = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatServer:
    """`base_url` ends in /v1. `window` is what the settings say of the model's length."""

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    profile: str = "vllm"
    window: int | None = None
    limits: ChatLimits = ChatLimits()

    @property
    def kind(self) -> Profile:
        return PROFILES[self.profile]

    @property
    def host(self) -> str:
        """What messages name: no more of the address, which may hold what is nobody's business."""
        return urlsplit(self.base_url).hostname or "?"

    @property
    def base(self) -> str:
        return self.base_url.rstrip("/")

    @property
    def root(self) -> str:
        """The address of what lies beside /v1, as vLLM's /tokenize does."""
        return self.base.removesuffix("/v1")
