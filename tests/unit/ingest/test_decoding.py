from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.loaders.decoding import decode_as, decode_text

SIMPLIFIED = "合同自双方签字之日起生效，任何一方不得擅自变更。"
TRADITIONAL = "合約自雙方簽字之日起生效，任何一方不得擅自變更。"


@pytest.mark.parametrize(
    ("text", "codec", "encoding"),
    [
        (SIMPLIFIED, "utf-8", "utf-8"),
        (SIMPLIFIED, "utf-8-sig", "utf-8-sig"),
        (SIMPLIFIED, "gbk", "gb18030"),
        (SIMPLIFIED + "𠮷㐂", "gb18030", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        (TRADITIONAL, "gb18030", "gb18030"),
        (SIMPLIFIED, "utf-16", "utf-16"),
        (SIMPLIFIED, "utf-16-le", "utf-16-le"),
        (SIMPLIFIED, "utf-32", "utf-32"),
        ("Le café de la forêt est très agréable, naïf et près d'ici.", "latin-1", "cp1252"),
        ("“Curly” quotes – and dashes", "cp1252", "cp1252"),
        ("plain", "ascii", "utf-8"),
        ("学而时习之，不亦说乎？有朋自远方来，不亦乐乎？", "gbk", "gb18030"),
        ("登録", "utf-8", "utf-8"),
    ],
)
def test_decode_text(text: str, codec: str, encoding: str) -> None:
    decoded = decode_text(text.encode(codec))
    assert (decoded.text, decoded.encoding) == (text, encoding)


def test_a_few_broken_bytes_do_not_change_the_encoding() -> None:
    decoded = decode_text((SIMPLIFIED * 3).encode() + b"\xff" + SIMPLIFIED.encode())
    assert decoded.encoding == "utf-8"
    assert decoded.text == SIMPLIFIED * 3 + "\ufffd" + SIMPLIFIED


@pytest.mark.parametrize(
    ("codec", "declared", "encoding"),
    [
        ("utf-8", "gb2312", "utf-8"),
        ("gb18030", "gb2312", "gb18030"),
        ("gb18030", "utf-8", "gb18030"),
        ("gb18030", "no-such-thing", "gb18030"),
        ("gb18030", "hex", "gb18030"),
        ("gb18030", None, "gb18030"),
    ],
)
def test_a_declaration_is_believed_only_when_it_can_be_true(codec: str, declared: str | None, encoding: str) -> None:
    decoded = decode_as(SIMPLIFIED.encode(codec), declared)
    assert (decoded.text, decoded.encoding) == (SIMPLIFIED, encoding)


@given(st.binary(max_size=400))
def test_decode_text_never_fails(data: bytes) -> None:
    assert isinstance(decode_text(data).text, str)
