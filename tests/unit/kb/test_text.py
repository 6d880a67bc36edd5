from __future__ import annotations

import unicodedata
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.text import clean_text, detect_language, detect_wide_encoding

JOINER = "\u034f"
# Long runs of marks in any order among it, letters that give marks back, and those that only marks come apart into.
MARKS = st.lists(
    st.sampled_from([*"ǖea가\u0f73\u0f81\u0344\u0301\u0323", "\u0301\u0323" * 20, "\u0344" * 16]), max_size=12
)
ANY_TEXT = st.text(st.characters(codec=None, categories=None))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a\x00b\x07c", "abc"),
        ("a\r\nb\rc\u2028d\u2029e\x85f\x0cg", "a\nb\nc\nd\ne\nf\ng"),
        ("tab\tstays", "tab\tstays"),
        ("\ud800x\udfff", "\ufffdx\ufffd"),
        ("e\u0301", "\u00e9"),
        ("Ａ１，ﬁ㎡", "Ａ１，ﬁ㎡"),  # NFC, not NFKC: full-width forms are the author's
        ("\x1b[0m", "[0m"),
        ("a\ufffeb", "ab"),
    ],
)
def test_clean_text(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(ANY_TEXT | MARKS.map("".join))
def test_clean_text_is_clean_and_stays_so(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in clean if character not in "\n\t")
    clean.encode()


@pytest.mark.parametrize("marks", ["\u0323", "\u0301\u0323", "\u0f73", "\u0344"])
def test_a_run_of_marks_is_parted_and_costs_what_it_is_long(marks: str) -> None:
    before = process_time()
    clean = clean_text("e" + marks * 100_000)
    assert process_time() - before < 10  # a second; of alternating marks, sorted as one run, it was an hour
    assert max(len(unicodedata.normalize("NFD", run)) for run in clean.split(JOINER)) <= 32
    assert clean.count("\u0323") == marks.count("\u0323") * 100_000 - (clean[0] == "ẹ")


def test_a_few_marks_stay_as_they_are() -> None:
    text = "e" + "\u0316" * 30 + "——……" * 20 + "字"
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("合同自双方签字之日起生效。", "zh"),
        ("The contract takes effect when both have signed.", "en"),
        ("使用 Kubernetes 部署 PostgreSQL 数据库集群时需要注意以下几点", "zh"),
        ("The word 中文 means Chinese in this rather long sentence.", "en"),
        ("これはひらがなのぶんしょうです。", None),
        ("Это русский текст", None),
        ("12345 67.8 %", None),
        ("", None),
        ("字", "zh"),
    ],
)
def test_detect_language(text: str, language: str | None) -> None:
    assert detect_language(text) == language


CHINESE = "第一条　为了规范合同，保护当事人的合法权益，制定本法。\n第二条　本法所称合同。\n"
ENGLISH = "Plain words, and a second line.\nHere it is.\n"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [CHINESE, ENGLISH])
def test_wide_text_without_a_mark_is_found_by_its_pattern(text: str, codec: str) -> None:
    data = text.encode(codec)
    assert detect_wide_encoding(data) == codec
    assert detect_wide_encoding(data * 500 + data[:1]) == codec


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_wide_text_with_a_mark(codec: str) -> None:
    assert detect_wide_encoding(CHINESE.encode(codec)) == codec


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "big5", "utf-8-sig"])
@pytest.mark.parametrize("text", [CHINESE.replace("　", ""), ENGLISH, "Bush hid the facts", "", "a"])
def test_narrow_text_is_not_taken_for_wide(text: str, codec: str) -> None:
    assert detect_wide_encoding(text.encode(codec, errors="replace")) is None


@given(st.binary(max_size=200))
def test_detect_wide_encoding_never_fails(data: bytes) -> None:
    assert detect_wide_encoding(data) in {
        None, "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"
    }  # fmt: skip
