"""Settings: the only reader of the environment. `kb serve --help` prints this table; `docs/settings.md` explains it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kb.errors import StartRefused
from kb.setting_values import (
    check_address,
    check_key,
    check_user_agent,
    is_named,
    parse_networks,
    parse_ports,
    parse_readers,
)

MEGABYTE = 1_000_000


class Settings(BaseSettings):
    """Everything that can be set, as `KB_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix="KB_", frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="address to listen on; anything but loopback needs an API key")
    port: int = Field(8088, ge=0, le=65535, description="port to listen on; 0 takes a free one and prints it")
    data_dir: Path = Field(Path("data/store"), description="folder that holds everything the server keeps")
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite under the data directory")
    workers: int = Field(
        1, ge=0, le=64, description="worker processes beside the server; 0 when `kb worker` runs elsewhere"
    )
    embedding: str = Field(
        "builtin", description="embedding model of new knowledge bases: builtin, a name, a folder, or http(s)://…/v1"
    )
    embedding_model: str | None = Field(None, min_length=1, max_length=255, description="model of that server")
    embedding_api_key: SecretStr | None = Field(None, description="key for that server")
    reranker: str | None = Field(
        None, description="reranker of every search: a name, a folder, or http(s)://…/v1; default: none"
    )
    reranker_model: str | None = Field(None, min_length=1, max_length=255, description="model of that server")
    reranker_api_key: SecretStr | None = Field(None, description="key for that server")
    encoder_backend: Literal["torch", "openvino"] = Field(
        "torch", description="what computes an embedding model of this machine"
    )
    model_hub: Literal["huggingface", "modelscope"] = Field(
        "huggingface", description="where `kb models pull` fetches models from"
    )
    models_dir: Path | None = Field(
        None, description="folder that pulled models lie in; default: models in the data directory"
    )
    allowed_roots: str | None = Field(
        None,
        description="folders that folder sources may lie in, with a colon between them; default: working directory",
    )
    readers: str | None = Field(
        None, description="LlamaIndex readers by file extension: .srt=module:Class, with a comma between them"
    )
    llm_base_url: str | None = Field(None, description="chat server speaking the OpenAI protocol, ending in /v1")
    llm_model: str | None = Field(None, description="model name sent to the chat server")
    llm_api_key: SecretStr | None = Field(None, description="key for the chat server")
    llm_profile: Literal["vllm", "transformers", "llamacpp", "ollama", "tgi", "openai"] = Field(
        "vllm", description="which kind of chat server it is"
    )
    llm_langchain: str | None = Field(
        None, description="LangChain chat model in place of a chat server: module:name of one, or of what makes one"
    )
    llm_window: int | None = Field(
        None, ge=256, description="tokens the chat model reads and writes, where its server tells none or too many"
    )
    llm_calls: int = Field(256, ge=1, description="most calls of the chat model at once")
    llm_waiting: int = Field(256, ge=0, description="most questions that wait for a call to end (too_busy)")
    llm_connect_seconds: float = Field(
        5, gt=0, le=3600, description="limit for reaching the chat server (llm_unavailable)"
    )
    llm_first_token_seconds: float = Field(
        30, gt=0, le=3600, description="limit for the chat model's first text (llm_timeout)"
    )
    llm_idle_seconds: float = Field(20, gt=0, le=3600, description="limit for silence in mid-answer (llm_timeout)")
    llm_total_seconds: float = Field(300, gt=0, le=86400, description="limit for a whole answer (llm_timeout)")
    llm_retries: int = Field(2, ge=0, le=10, description="repetitions of a call that failed before its first text")
    url: str = Field("http://127.0.0.1:8088", description="server the command line talks to")
    api_key: SecretStr | None = Field(None, description="key the command line sends")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    max_file_bytes: int = Field(100 * MEGABYTE, ge=1, description="largest file (too_large)")
    max_request_bytes: int = Field(1000 * MEGABYTE, ge=1, description="largest request (too_large)")
    max_request_files: int = Field(1000, ge=1, description="most files in one request (too_many_parts)")
    max_archive_entries: int = Field(10_000, ge=1, description="most entries of an archive (archive_too_large)")
    max_archive_bytes: int = Field(
        2_000 * MEGABYTE, ge=1, description="most bytes an archive unpacks to (archive_too_large)"
    )
    max_pages: int = Field(5_000, ge=1, description="most pages of a document (too_many_pages)")
    max_characters: int = Field(20_000_000, ge=1, description="most characters of a document's text (text_too_large)")
    max_question_characters: int = Field(8_000, ge=1, description="longest question (question_too_long)")
    parse_seconds: int = Field(120, ge=1, description="wall-clock limit for parsing one file (parse_timeout)")
    parse_cpu_seconds: int = Field(60, ge=1, description="CPU limit for parsing one file (parse_limit)")
    parse_memory_bytes: int = Field(
        1_500 * MEGABYTE, ge=256 * MEGABYTE, description="memory limit for parsing one file"
    )
    ocr: Literal["off", "on"] = Field("off", description="whether scanned pages of PDFs are read by OCR")
    ocr_pages: int = Field(200, ge=1, le=5_000, description="most pages of a document that OCR reads")
    ocr_page_seconds: int = Field(60, ge=1, description="CPU limit for one page of OCR (parse_limit)")
    fetch_max_bytes: int = Field(10 * MEGABYTE, ge=1, description="largest web page, unpacked (fetch_too_large)")
    fetch_seconds: float = Field(30, gt=0, le=3600, description="limit for a whole answer (fetch_timeout)")
    fetch_retries: int = Field(2, ge=0, le=10, description="repetitions of a fetch whose failure may pass")
    fetch_delay_seconds: float = Field(1, ge=0, le=3600, description="longest pause between fetches from one host")
    fetch_user_agent: str | None = Field(
        None, min_length=1, max_length=255, description="what fetching calls itself; default: kb-server/<version>"
    )
    fetch_ports: str = Field("80,443", description="ports that are fetched from, with a comma between them")
    fetch_networks: str | None = Field(
        None, description="networks that are fetched from beside public addresses, such as 10.1.0.0/16, with commas"
    )
    fetch_loopback_ports: str | None = Field(
        None, description="for tests: ports of this machine's loopback that are fetched from, with commas"
    )
    chunk_tokens: int = Field(100, ge=16, le=256, description="tokens a chunk aims at, of new knowledge bases")
    lease_seconds: int = Field(60, ge=2, description="how long a worker may be silent before its job is given away")
    seal_changes: int = Field(2_000, ge=1, description="changed chunks after which a new index generation is sealed")
    retention_days: float = Field(7, ge=1 / 24, description="how long replaced versions are kept; at least an hour")
    retention_revisions: int = Field(0, ge=0, description="last revisions that stay restorable however old they are")
    conversation_days: float = Field(
        30, ge=0, le=36_500, description="days that a conversation is kept which nobody goes on with; 0 keeps none"
    )
    crash: str | None = Field(None, description="for tests: name:n kills the process at the n-th pass of a crash point")

    @field_validator("data_dir", "models_dir")
    @classmethod
    def _make_absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("readers")
    @classmethod
    def _check_readers(cls, value: str | None) -> str | None:
        parse_readers(value)
        return value

    @field_validator("fetch_user_agent")
    @classmethod
    def _check_user_agent(cls, value: str | None) -> str | None:
        return None if value is None else check_user_agent(value)

    @field_validator("fetch_ports", "fetch_loopback_ports")
    @classmethod
    def _check_ports(cls, value: str | None) -> str | None:
        parse_ports(value)
        return value

    @field_validator("fetch_networks")
    @classmethod
    def _check_networks(cls, value: str | None) -> str | None:
        parse_networks(value)
        return value

    @field_validator("embedding", "reranker")
    @classmethod
    def _check_model(cls, value: str | None, told: ValidationInfo) -> str | None:
        if value is not None and is_server(value):
            check_address(value, f"KB_{str(told.field_name).upper()}_API_KEY")
        return value

    @field_validator("reranker")
    @classmethod
    def _read_nothing(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("llm_base_url")
    @classmethod
    def _check_llm_address(cls, value: str | None) -> str | None:
        if value is not None:
            if not is_server(value):
                raise ValueError("the address must begin with http:// or https://")
            check_address(value, "KB_LLM_API_KEY")
        return value

    @field_validator("llm_langchain")
    @classmethod
    def _check_langchain(cls, value: str | None) -> str | None:
        if value is not None and not is_named(value):
            raise ValueError(f"{value[:255]!r} is not of the form module:name")
        return value

    @field_validator("embedding_api_key", "reranker_api_key", "llm_api_key")
    @classmethod
    def _check_keys(cls, value: SecretStr | None) -> SecretStr | None:
        return check_key(value)

    @property
    def default_model(self) -> str:
        """The name that new knowledge bases keep of their embedding model: of a server's, not where the server is."""
        return self.embedding_model or self.embedding if is_server(self.embedding) else self.embedding

    @property
    def reader_classes(self) -> Mapping[str, str]:
        """What KB_READERS names: `module:Class` by extension (`.srt`, in small letters)."""
        return parse_readers(self.readers)

    @property
    def allowed_folders(self) -> tuple[Path, ...]:
        """What KB_ALLOWED_ROOTS names, absolute; set to nothing it allows nothing."""
        if self.allowed_roots is None:
            return (Path.cwd(),)
        named = (part.strip() for part in self.allowed_roots.split(os.pathsep))
        return tuple(Path(part).expanduser().absolute() for part in named if part)

    @property
    def models_folder(self) -> Path:
        """Where pulled models lie."""
        return self.models_dir or self.data_dir / "models"

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'catalog.sqlite3'}"


class HubSettings(BaseSettings):
    """What the hubs' own programs read from the environment, under their names; set to nothing it is not set."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True)

    hf_endpoint: str = "https://huggingface.co"
    hf_hub_offline: str = ""
    hf_token: SecretStr | None = None
    modelscope_endpoint: str = "https://www.modelscope.cn"
    modelscope_cache: Path = Path("~/.cache/modelscope")

    @field_validator("hf_endpoint", "modelscope_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        if not is_server(value):
            raise ValueError("the address must begin with http:// or https://")
        check_address(value, "HF_TOKEN")
        return value.rstrip("/")

    @field_validator("hf_token")
    @classmethod
    def _check_token(cls, value: SecretStr | None) -> SecretStr | None:
        return check_key(value)

    @property
    def is_hugging_face_offline(self) -> bool:
        """The words are those of Hugging Face's client."""
        return self.hf_hub_offline.upper() in {"1", "ON", "YES", "TRUE"}

    @property
    def modelscope_folders(self) -> tuple[Path, ...]:
        """Where releases of ModelScope's client have kept models, the newest first."""
        root = self.modelscope_cache.expanduser().absolute()
        return (root / "hub" / "models", root / "models", root / "hub", root)


def is_server(model: str) -> bool:
    """Whether KB_EMBEDDING or KB_RERANKER names a server, not a model."""
    return model.lower().startswith(("http://", "https://"))


def read_settings() -> Settings:
    """Raises StartRefused (`bad_setting`) naming each wrong variable and its value's fault."""
    try:
        return Settings()
    except ValidationError as error:
        raise _refuse(error, "KB_") from None


def read_hub_settings() -> HubSettings:
    """Raises StartRefused (`bad_setting`)."""
    try:
        return HubSettings()
    except ValidationError as error:
        raise _refuse(error, "") from None


def _refuse(error: ValidationError, prefix: str) -> StartRefused:
    faults = [f"{prefix}{'_'.join(str(part) for part in e['loc']).upper()}: {e['msg']}" for e in error.errors()]
    return StartRefused("bad_setting", "; ".join(faults))
