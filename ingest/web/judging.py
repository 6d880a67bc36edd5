"""What becomes of a page that answered: a document, or why none. Remembers what became of those before it."""

from __future__ import annotations

from collections.abc import Callable

from ingest.web.frontier import Place
from ingest.web.memory import name_page
from ingest.web.plan import SeenPage, Skipped
from ingest.web.urls import find_key


class Judge:
    """`wants` tells whether an address may be a document."""

    def __init__(self, wants: Callable[[str], bool]) -> None:
        self._wants = wants
        self._kept: dict[str, str] = {}  # addresses of documents, by key
        self._bytes: dict[str, str] = {}  # and by the hash of their bytes
        self._others: set[str] = set()  # keys of addresses that are none

    def keep(self, url: str, sha256: str) -> None:
        """The page is a document, or remains one."""
        self._kept[find_key(url)] = url
        self._bytes.setdefault(sha256, url)

    def pass_over(self, key: str) -> None:
        self._others.add(key)

    def is_kept(self, url: str) -> bool:
        return find_key(url) in self._kept

    def is_met(self, url: str) -> bool:
        return self.is_kept(url) or find_key(url) in self._others

    def find_target(self, place: Place, page: SeenPage) -> str | None:
        """The other page that this one calls its true address, if nothing is known of that yet."""
        if page.canonical is None or page.noindex or place.is_target:
            return None
        is_other = find_key(page.canonical) not in (find_key(page.url), place.key)
        is_open = is_other and not self.is_met(page.canonical) and self._wants(page.canonical)
        return page.canonical if is_open else None

    def find_skip(self, place: Place, page: SeenPage) -> Skipped | None:
        """Why the page is no document."""
        name = name_page(page)
        same = self._kept.get(find_key(name), "")
        target = self._kept.get(find_key(page.canonical), "") if page.canonical else ""
        twin = self._bytes.get(page.sha256, "")
        faults = (
            (page.noindex, "noindex", "asks not to be indexed", ""),
            (not self._wants(name), "excluded", f"{name} is not among what include and exclude leave", ""),
            (same, "same_page", f"is {same}", same),
            (target, "same_page", f"calls {target} its true address", target),
            (twin, "duplicate_content", f"has the bytes of {twin}", twin),
        )
        for found, code, detail, same_as in faults:
            if found:
                return Skipped(url=place.url, code=code, detail=detail, page=page, same_as=same_as or None)
        return None
