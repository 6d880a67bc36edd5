"""The few domain types that compute something."""

import pytest

from kb.types import Page, PageVerdict, ParsedDocument


@pytest.mark.parametrize(
    ("verdicts", "coverage"),
    [
        ([], 0.0),
        (["indexed"], 1.0),
        (["scanned"], 0.0),
        (["indexed", "scanned", "empty", "indexed"], 0.5),
        (["garbled", "encrypted", "indexed"], pytest.approx(1 / 3)),
    ],
)
def test_coverage_is_the_share_of_pages_with_text(verdicts: list[str], coverage: float) -> None:
    pages = [Page(number=n, start=0, end=0, verdict=PageVerdict(v)) for n, v in enumerate(verdicts, start=1)]
    assert ParsedDocument(text="", pages=pages).coverage == coverage
