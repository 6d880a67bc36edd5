"""A model hub on loopback that serves a folder as Hugging Face and as ModelScope do, and shows the faults of real ones.

Large files come by way of a redirect, as at both hubs, and may be asked for in part.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

MODEL = "BAAI/bge-small-zh-v1.5"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".onnx")


class QuietServer(ThreadingHTTPServer):
    """A client that hangs up is no news: stderr belongs to the test."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class ModelHub:
    """Serves `folder` as MODEL. `requests` holds (path, Range) of every one that came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.cuts: list[int] = []  # a large file's next answers end after so many bytes
        self.statuses: list[int] = []  # the next answers are these
        self.ranges = True  # False: whole files, whatever part is asked for
        self.spoilt: str | None = None  # this file's bytes are not those that are announced
        self.announced: dict[str, str] = {}  # path in the listing → another one
        handler = type("Handler", (RequestHandler,), {"hub": self})
        self._http = QuietServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def fetched(self) -> set[str]:
        return {path.rpartition(":")[2] for path, _ in self.requests if path.startswith("file:")}

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def list_paths(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def list_for_huggingface(self) -> object:
        siblings = []
        for path in self.list_paths():
            content = (self.folder / path).read_bytes()
            sibling: dict[str, object] = {"rfilename": self.announced.get(path, path), "size": len(content)}
            sibling["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if path.endswith(LARGE):
                sibling["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            siblings.append(sibling)
        return {"id": MODEL, "sha": COMMIT, "siblings": siblings}

    def list_for_modelscope(self) -> object:
        files: list[dict[str, object]] = [{"Path": "1_Pooling", "Name": "1_Pooling", "Type": "tree", "Size": 0}]
        for path in self.list_paths():
            content = (self.folder / path).read_bytes()
            told = {"Path": self.announced.get(path, path), "Type": "blob", "Size": len(content)}
            files.append({**told, "Sha256": hashlib.sha256(content).hexdigest()})
        return {"Code": 200, "Success": True, "Data": {"Files": files}}


class RequestHandler(BaseHTTPRequestHandler):
    """`hub` is set by ModelHub."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: ModelHub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.hub.tokens.append(self.headers.get("authorization"))
        if self.hub.statuses:
            self.send_json({"error": "a fault on purpose"}, self.hub.statuses.pop(0))
            return
        scope = f"/api/v1/models/{MODEL}/repo"
        query = parse_qs(parts.query)
        if self.path == f"/api/models/{MODEL}/revision/main?blobs=true":
            self.send_json(self.hub.list_for_huggingface())
        elif parts.path == f"{scope}/files" and query == {"Revision": ["master"], "Recursive": ["True"]}:
            self.send_json(self.hub.list_for_modelscope())
        elif parts.path.startswith(f"/{MODEL}/resolve/{COMMIT}/"):
            self.send_file(unquote(parts.path.partition(COMMIT + "/")[2]))
        elif parts.path == scope and query["Revision"] == ["master"]:
            self.send_file(query["FilePath"][0])
        elif parts.path.startswith("/cdn/"):
            self.send_bytes(unquote(parts.path.removeprefix("/cdn/")))
        else:
            self.send_json({"Code": 10010205001, "Message": "not found", "error": "Repository not found"}, 404)

    def send_file(self, path: str) -> None:
        if not path.endswith(LARGE):
            self.send_bytes(path)
            return
        self.send_response(302)
        self.send_header("Location", f"/cdn/{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_bytes(self, path: str) -> None:
        asked = self.headers.get("range")
        self.hub.requests.append((f"file:{path}", asked))
        content = (self.hub.folder / path).read_bytes()
        if path == self.hub.spoilt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.hub.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if path.endswith(LARGE) and self.hub.cuts:
            self.wfile.write(content[start : start + self.hub.cuts.pop(0)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def send_json(self, body: object, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing: stderr belongs to the test."""


@contextmanager
def serve_models(folder: Path) -> Iterator[ModelHub]:
    hub = ModelHub(folder)
    try:
        yield hub
    finally:
        hub.stop()
