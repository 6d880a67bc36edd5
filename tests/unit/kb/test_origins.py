"""What a server said of a page, kept and read again."""

from __future__ import annotations

import json

from kb.catalog.origins import describe_origin, read_origin
from kb.types import PageOrigin

LINKS = tuple(f"https://docs.test/页/{number}" for number in range(3))
ORIGIN = PageOrigin(asked="https://docs.test/", led_to="https://docs.test/", sha256="ab", links=LINKS, nofollow=True)


def test_an_origin_is_read_as_it_was_kept() -> None:
    assert read_origin(json.loads(json.dumps(describe_origin(ORIGIN)))) == ORIGIN


def test_pages_that_link_to_the_same_pages_keep_each_address_once() -> None:
    """A menu of 200 links on 50,000 pages is ten million addresses."""
    kept = json.dumps(describe_origin(ORIGIN))
    one, other = (read_origin(json.loads(kept)) for _ in range(2))
    assert [link is same for link, same in zip(one.links, other.links, strict=True)] == [True] * 3
