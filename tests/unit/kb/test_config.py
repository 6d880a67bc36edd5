"""Settings from the environment."""

import os
from pathlib import Path

import pytest

from kb.config import read_settings
from kb.errors import StartRefused


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the shell of whoever runs the tests has set."""
    for name in list(os.environ):
        if name.startswith("KB_"):
            monkeypatch.delenv(name)


def test_what_is_fixed_by_the_contract() -> None:
    settings = read_settings()
    assert (settings.host, settings.port, settings.workers, settings.embedding) == ("127.0.0.1", 8088, 1, "builtin")
    assert settings.data_dir == Path.cwd() / "data" / "store"
    assert settings.url == "http://127.0.0.1:8088"
    assert settings.sqlalchemy_url == f"sqlite:///{Path.cwd()}/data/store/catalog.sqlite3"
    assert (settings.llm_base_url, settings.llm_model, settings.llm_api_key) == (None, None, None)


def test_limits_of_the_contract() -> None:
    settings = read_settings()
    assert (settings.max_file_bytes, settings.max_request_bytes) == (100_000_000, 1_000_000_000)
    assert (settings.max_pages, settings.max_characters, settings.max_question_characters) == (5_000, 20_000_000, 8_000)
    assert (settings.max_archive_entries, settings.max_archive_bytes) == (10_000, 2_000_000_000)
    assert settings.retention_days == 7


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KB_DATA_DIR", "~/kb")
    monkeypatch.setenv("KB_PORT", "0")
    monkeypatch.setenv("KB_LLM_API_KEY", "secret")
    monkeypatch.setenv("KB_DATABASE_URL", "sqlite:////elsewhere/x.sqlite3")
    monkeypatch.setenv("KB_NOT_OURS", "ignored")
    settings = read_settings()
    assert settings.data_dir == Path.home() / "kb"
    assert settings.port == 0
    assert settings.sqlalchemy_url == "sqlite:////elsewhere/x.sqlite3"
    assert "secret" not in repr(settings)


def test_allowed_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().allowed_folders == (Path.cwd(),)
    monkeypatch.setenv("KB_ALLOWED_ROOTS", "/srv/docs: ~/资料 ::here")
    assert read_settings().allowed_folders == (Path("/srv/docs"), Path.home() / "资料", Path.cwd() / "here")
    monkeypatch.setenv("KB_ALLOWED_ROOTS", "")
    assert read_settings().allowed_folders == ()


def test_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().reader_classes == {}
    monkeypatch.setenv("KB_READERS", " .SRT=a.b_c:Class ,, .ipynb=d:E,")
    assert read_settings().reader_classes == {".srt": "a.b_c:Class", ".ipynb": "d:E"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KB_PORT", "70000"),
        ("KB_PORT", "x"),
        ("KB_WORKERS", "-1"),
        ("KB_LLM_PROFILE", "nobody"),
        ("KB_CHUNK_TOKENS", "1"),
        ("KB_RETENTION_DAYS", "0.01"),
        ("KB_LEASE_SECONDS", "0"),
        ("KB_READERS", "srt=package:Class"),
        ("KB_READERS", ".srt=package.Class"),
        ("KB_READERS", ".srt=package:Class()"),
        ("KB_READERS", ".tar.gz=package:Class"),
        ("KB_READERS", f".{'x' * 17}=package:Class"),
        ("KB_READERS", ".srt=package:One,.SRT=package:Two"),
        ("KB_FETCH_PORTS", "80,0"),
        ("KB_FETCH_PORTS", "65536"),
        ("KB_FETCH_PORTS", "http"),
        ("KB_FETCH_PORTS", "８０"),
        ("KB_FETCH_LOOPBACK_PORTS", "-1"),
        ("KB_FETCH_NETWORKS", "10.1.0.0/33"),
        ("KB_FETCH_NETWORKS", "10.1.2.3/16"),
        ("KB_FETCH_NETWORKS", "wiki.corp"),
        ("KB_FETCH_USER_AGENT", ""),
        ("KB_FETCH_USER_AGENT", "bot\r\nX: y"),
        ("KB_FETCH_USER_AGENT", "机器人"),
        ("KB_FETCH_SECONDS", "0"),
        ("KB_FETCH_MAX_BYTES", "0"),
        ("KB_FETCH_RETRIES", "11"),
    ],
)
def test_a_value_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartRefused) as refused:
        read_settings()
    assert (refused.value.code, refused.value.exit_code) == ("bad_setting", 78)
    assert refused.value.detail.startswith(f"{name}: ")


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KB_PORT", "x")
    monkeypatch.setenv("KB_WORKERS", "y")
    with pytest.raises(StartRefused, match=r"KB_PORT: .*KB_WORKERS: "):
        read_settings()


def test_a_wrong_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KB_LLM_API_KEY", "very-secret")
    monkeypatch.setenv("KB_PORT", "x")
    with pytest.raises(StartRefused) as refused:
        read_settings()
    assert "very-secret" not in refused.value.detail


KEY = "sk-secret"


def test_an_embedding_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().default_model == "builtin"
    monkeypatch.setenv("KB_EMBEDDING", "BAAI/bge-base-zh-v1.5")
    assert read_settings().default_model == "BAAI/bge-base-zh-v1.5"
    monkeypatch.setenv("KB_EMBEDDING", "HTTPS://embeddings.example:8443/deep/v1")
    monkeypatch.setenv("KB_EMBEDDING_MODEL", "bge-m3")
    monkeypatch.setenv("KB_EMBEDDING_API_KEY", KEY)
    settings = read_settings()
    assert settings.default_model == "bge-m3"
    assert KEY not in repr(settings) + str(settings.model_dump())


def test_a_reranker(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings()
    assert (settings.reranker, settings.reranker_model, settings.reranker_api_key) == (None, None, None)
    monkeypatch.setenv("KB_RERANKER", "")
    assert read_settings().reranker is None
    monkeypatch.setenv("KB_RERANKER", "https://rerank.example/v1")
    monkeypatch.setenv("KB_RERANKER_MODEL", "bge-reranker-v2-m3")
    monkeypatch.setenv("KB_RERANKER_API_KEY", KEY)
    settings = read_settings()
    assert (settings.reranker, settings.reranker_model) == ("https://rerank.example/v1", "bge-reranker-v2-m3")
    assert KEY not in repr(settings) + str(settings.model_dump())


@pytest.mark.parametrize("name", ["KB_EMBEDDING", "KB_RERANKER"])
@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@host/v1",
        f"http://{KEY}@host/v1",
        f"http://host/v1?key={KEY}",
        f"http://host/v1#{KEY}",
        "http://",
        "http://:80/v1",
        "http://host:0/v1",
        "http://host:99999/v1",
        "http://[::1/v1",
        "http://host/v 1",
        "http://主机/v1",
        "http://host/v1\n",
    ],
)
def test_an_address_that_is_none_or_holds_a_secret(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(StartRefused) as refused:
        read_settings()
    assert refused.value.code == "bad_setting"
    assert refused.value.detail.startswith(f"{name}: ")
    if "@" in url:
        assert f"put the key into {name}_API_KEY" in refused.value.detail
    assert KEY not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"密钥{KEY}", f"{KEY}\x7f"])
def test_a_key_that_no_header_may_hold(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("KB_EMBEDDING_API_KEY", key)
    with pytest.raises(StartRefused, match="KB_EMBEDDING_API_KEY") as refused:
        read_settings()
    assert KEY not in str(refused.value) + str(refused.value.__context__)
