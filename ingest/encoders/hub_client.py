"""Calls to a model hub: the list of a model's files, small files whole, large ones resumed where they broke off.

An importer of httpx, at the first call. A hub that cannot be reached is said at once: whoever types `kb models pull`
can try again, and is helped more by the reason than by a minute of silence.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from ingest.encoders.hubs import Hub, HubFile, Listing
from kb.errors import NotFound, Unavailable
from kb.loopback import is_loopback

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
READ_S = 30.0
ATTEMPTS = 5  # of a file, without a byte arriving in between
FIRST_PAUSE_S = 0.5
LARGEST_LISTING = 20_000_000  # bytes
BUSY = frozenset({429, 500, 502, 503, 504})
RANGE = re.compile(r"bytes (\d+)-")

OnBytes = Callable[[int], None]


class BrokeOff(Exception):
    """A transfer ended before its end; what has arrived is kept."""


class HubClient:
    """One hub. `transport` and `sleep` are handed in so that a test needs neither network nor time."""

    def __init__(
        self, hub: Hub, *, transport: httpx.BaseTransport | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        import httpx

        self.hub = hub
        self._sleep = sleep
        self._http = httpx.Client(
            headers={
                "User-Agent": "kb-server",
                "Accept-Encoding": "identity",  # sizes and ranges are of the bytes themselves
                **({"Authorization": f"Bearer {hub.token}"} if hub.token else {}),  # httpx drops it at another host
            },
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            follow_redirects=True,  # to where the hub keeps its large files
            max_redirects=5,
            transport=transport,
            verify=hub.endpoint.startswith("https"),
            trust_env=not is_loopback(hub.endpoint),
        )

    def close(self) -> None:
        self._http.close()

    def list_files(self, model: str) -> Listing:
        """Raises NotFound (`model_not_found`), Unavailable (`hub_unreachable`, `hub_failed`)."""
        content = self._read(self.hub.name_listing(model), model, LARGEST_LISTING)
        try:
            return self.hub.read_listing(orjson.loads(content))
        except (ValueError, KeyError, TypeError) as error:
            raise self._fail(f"did not list the files of {model} in a way that can be read") from error

    def read_file(self, model: str, listing: Listing, file: HubFile) -> bytes:
        """A small file whole. Raises as `list_files`."""
        return self._read(self.hub.name_file(model, listing.revision, file.path), model, file.size)

    def fetch_file(self, url: str, target: Path, size: int, on_bytes: OnBytes) -> None:
        """Append to `target` what it lacks of `size` bytes; `on_bytes` hears of each piece, below 0 of what was lost.

        Raises NotFound (`model_not_found`), Unavailable (`hub_unreachable`, `hub_failed`).
        """
        silent = 0
        while (have := measure(target)) != size or not target.exists():
            try:
                self._append(url, target, size, on_bytes)
            except BrokeOff as error:
                silent = 0 if measure(target) > have else silent + 1
                if silent >= ATTEMPTS:
                    raise self._fail(
                        f"broke off {silent} times in {target.name} ({error}); pull again to go on"
                    ) from None
                self._sleep(FIRST_PAUSE_S * 2.0**silent)

    def _append(self, url: str, target: Path, size: int, on_bytes: OnBytes) -> None:
        import httpx

        have = measure(target)
        if have > size:  # another file's rest
            target.unlink()
            on_bytes(-have)
            have = 0
        try:
            with self._http.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
                self._check_status(response, url)
                start = read_start(response)
                if start not in (0, have):
                    raise self._fail(f"sent another part of {target.name} than it was asked for")
                if start < have:
                    on_bytes(start - have)
                with target.open("r+b" if start else "wb") as file:
                    file.seek(start)
                    for part in response.iter_bytes():
                        if file.tell() + len(part) > size:
                            raise self._fail(f"sent more of {target.name} than it announced")
                        file.write(part)
                        on_bytes(len(part))
        except httpx.HTTPError as error:
            raise BrokeOff(type(error).__name__) from None
        if measure(target) < size:
            raise BrokeOff("too short")

    def _read(self, url: str, model: str, most: int) -> bytes:
        import httpx

        content = bytearray()
        try:
            with self._http.stream("GET", url) as response:
                self._check_status(response, model)
                for part in response.iter_bytes():
                    content += part
                    if len(content) > most:
                        raise self._fail(f"sent more than {most} bytes for {model}")
        except BrokeOff as error:
            raise self._fail(f"answered {error}; try again later") from None
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise self._say_unreachable("cannot be reached") from None
        except httpx.HTTPError as error:
            raise self._say_unreachable(f"did not answer ({type(error).__name__})") from None
        return bytes(content)

    def _check_status(self, response: httpx.Response, about: str) -> None:
        status = response.status_code
        if status in {200, 206}:
            return
        if status in BUSY:
            raise BrokeOff(str(status))
        if status in {401, 403, 404}:
            reason = f"the model hub {self.hub.endpoint} has no {about}, or does not give it to us ({status})"
            way_out = "check the name, KB_MODEL_HUB, and for a gated model HF_TOKEN"
            raise NotFound("model_not_found", f"{reason}; {way_out}")
        raise self._fail(f"answered {status} for {about}")

    def _say_unreachable(self, fault: str) -> Unavailable:
        way_out = (
            f"check network and proxy, set {self.hub.variable} to a mirror or KB_MODEL_HUB to another hub, "
            "or copy the model's folder to this machine"
        )
        return Unavailable("hub_unreachable", f"the model hub {self.hub.endpoint} {fault}; {way_out}")

    def _fail(self, fault: str) -> Unavailable:
        return Unavailable("hub_failed", f"the model hub {self.hub.endpoint} {fault}")


def measure(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def read_start(response: httpx.Response) -> int:
    """Where the sent bytes begin: at 0 when the whole file is sent, whatever was asked for."""
    if response.status_code != 206:
        return 0
    found = RANGE.match(response.headers.get("content-range", ""))
    return int(found[1]) if found else -1
