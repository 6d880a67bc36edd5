"""Loaders on small files written here: values, errors, and anything at all from hypothesis."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.loaders import LoadLimits, load_document
from kb.errors import DocumentFailed
from kb.media_type import HTML, MARKDOWN, PDF, PLAIN
from kb.types import PageVerdict, ParsedDocument

CODES = {"no_text", "not_text", "text_too_large", "parse_limit"}


def load(folder: Path, content: str | bytes, media_type: str, limits: LoadLimits | None = None) -> ParsedDocument:
    path = folder / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_document(path, media_type, limits or LoadLimits())


def fail(folder: Path, content: str | bytes, media_type: str, limits: LoadLimits | None = None) -> str:
    with pytest.raises(DocumentFailed) as caught:
        load(folder, content, media_type, limits)
    return caught.value.code


def load_or_code(folder: Path, content: bytes, media_type: str) -> ParsedDocument | str:
    try:
        return load(folder, content, media_type)
    except DocumentFailed as error:
        return error.code


# -- plain text ---------------------------------------------------------------------------------------------------


def test_plain_text_is_one_page(tmp_path: Path) -> None:
    document = load(tmp_path, "第一行\r\n第二行\x00\n", PLAIN)
    assert document.text == "第一行\n第二行\n"
    assert [(page.number, page.start, page.end, page.verdict) for page in document.pages] == [
        (1, 0, 8, PageVerdict.INDEXED)
    ]
    assert (document.language, document.encoding, document.coverage) == ("zh", "utf-8", 1.0)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "no_text"),
        (b" \r\n\t\xe3\x80\x80", "no_text"),
        (b"\xef\xbb\xbf", "no_text"),
        ("\u200b\u200d".encode(), "no_text"),
        (bytes(range(256)) * 40, "not_text"),
        (b"x\x00\x01\x02" * 100, "not_text"),
    ],
)
@pytest.mark.parametrize("media_type", [PLAIN, MARKDOWN])
def test_what_is_no_text(tmp_path: Path, content: bytes, code: str, media_type: str) -> None:
    assert fail(tmp_path, content, media_type) == code


@pytest.mark.parametrize("media_type", [PLAIN, MARKDOWN, HTML])
def test_too_many_characters(tmp_path: Path, media_type: str) -> None:
    assert fail(tmp_path, "字 " * 600, media_type, LoadLimits(max_characters=100)) == "text_too_large"


def test_one_character_is_a_document(tmp_path: Path) -> None:
    assert load(tmp_path, "🙂", PLAIN).text == "🙂"
    assert load(tmp_path, "字", PLAIN).text == "字"


def test_an_unknown_media_type(tmp_path: Path) -> None:
    assert fail(tmp_path, "x", "image/png") == "unsupported_type"


# -- Markdown -------------------------------------------------------------------------------------------------------

MARKDOWN_TEXT = """\
---
title: "Front title"
tags: [a]
---
# First *heading* #

Words. #not a heading

```python
# a comment in code
```

Second [heading](http://x)
==========================

## 第二节 `code`
- item
---
~~~
```
# still code
~~~
### End
"""


def test_markdown_headings(tmp_path: Path) -> None:
    document = load(tmp_path, MARKDOWN_TEXT, MARKDOWN)
    assert document.text == MARKDOWN_TEXT.split("---\n", 2)[2]
    assert document.title == "Front title"
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "First *heading*"),
        (1, "Second heading"),
        (2, "第二节 code"),
        (3, "End"),
    ]
    first = document.headings[0]
    assert document.text[first.start : first.end] == "# First *heading* #"


def test_markdown_title_is_its_first_heading(tmp_path: Path) -> None:
    assert load(tmp_path, "## Sub\n# Main\ntext", MARKDOWN).title == "Main"
    assert load(tmp_path, "text", MARKDOWN).title is None
    assert load(tmp_path, "---\nno front matter\n---\ntext", MARKDOWN).text == "---\nno front matter\n---\ntext"


# -- HTML -----------------------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html><html><head><title>合同法解读 - 某网站</title><style>.hidden-style{}</style></head><body>
<nav><a href="/">导航首页</a></nav><script>var secret_script = 1;</script><noscript>noscript words</noscript>
<template>template words</template><!-- comment words -->
<article><h1>合同法解读</h1><p>合同自双方签字之日起生效，任何一方不得擅自变更或者解除合同。&lt;script&gt;alert(1)&lt;/script&gt;</p>
<h2>违约责任</h2><p>违约方应当承担<a href="http://x">继续履行</a>、采取补救措施或者赔偿损失等责任，具体金额见下表所列。</p>
<table><tr><th>项目</th><th>金额</th></tr><tr><td>定金</td><td>100</td></tr></table>
<ul><li>第一项义务的内容是按时交付</li><li>第二项义务的内容是保证质量</li></ul>
<pre><code>def f():
    return 1
</code></pre></article></body></html>"""


def test_html_content_headings_and_title(tmp_path: Path) -> None:
    document = load(tmp_path, PAGE, HTML)
    assert document.title == "合同法解读"
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "合同法解读"), (2, "违约责任")]
    for heading in document.headings:
        assert document.text[heading.start : heading.end] == heading.title
    for wanted in (
        "<script>alert(1)</script>",
        "承担继续履行、采取",
        "项目 | 金额\n定金 | 100",
        "- 第一项义务的内容是按时交付\n- 第二项",
        "def f():\n    return 1",
    ):
        assert wanted in document.text
    for unwanted in ("hidden-style", "secret_script", "noscript words", "template words", "comment words", "导航首页"):
        assert unwanted not in document.text


@pytest.mark.parametrize(
    ("codec", "declared", "encoding"),
    [
        ("utf-8", "gb2312", "utf-8"),
        ("gb18030", "gb2312", "gb18030"),
        ("gb18030", "utf-8", "gb18030"),
        ("utf-16", "x", "utf-16"),
    ],
)
def test_html_whose_charset_lies(tmp_path: Path, codec: str, declared: str, encoding: str) -> None:
    page = PAGE.replace("<head>", f'<head><meta charset="{declared}">')
    document = load(tmp_path, page.encode(codec), HTML)
    assert document.encoding == encoding
    assert "违约方应当承担" in document.text


@pytest.mark.parametrize(
    ("codec", "encoding"), [("utf-8-sig", "utf-8-sig"), ("utf-8", "utf-8"), ("gb18030", "gb18030")]
)
def test_html_declared_the_old_way(tmp_path: Path, codec: str, encoding: str) -> None:
    """`http-equiv` is read like `charset`; a byte order mark, or that it is UTF-8, counts for more."""
    declared = '<meta http-equiv="Content-Type" content="text/html; charset=gb2312">'
    document = load(tmp_path, PAGE.replace("<head>", f"<head>{declared}").encode(codec), HTML)
    assert document.encoding == encoding
    assert "违约方应当承担" in document.text


def test_html_that_is_nested_too_deep_for_the_first_reader(tmp_path: Path) -> None:
    """The second one leaves out the same things, and keeps headings, cells and the words of links."""
    deep = PAGE.replace("<article>", "<div>" * 250 + "<article>")
    document = load(tmp_path, deep, HTML)
    for wanted in ("<script>alert(1)</script>", "继续履行", "定金", "第一项义务的内容是按时交付", "return 1"):
        assert wanted in document.text
    for unwanted in ("hidden-style", "secret_script", "noscript words", "template words", "comment words"):
        assert unwanted not in document.text
    assert [heading.title for heading in document.headings] == ["合同法解读", "违约责任"]


def test_html_refresh_and_base_lead_nowhere(tmp_path: Path) -> None:
    head = '<meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/x"><base href="http://127.0.0.1:9/">'
    page = f"<html><head>{head}</head><body><p>Words of the page, enough to stand.</p></body></html>"
    assert load(tmp_path, page, HTML).text == "Words of the page, enough to stand."


def test_html_entities_are_not_multiplied(tmp_path: Path) -> None:
    nested = "".join(f'<!ENTITY {name} "{f"&{below};" * 10}">' for below, name in pairwise("abcdefghij"))
    page = (
        f'<!DOCTYPE html [<!ENTITY a "lol">{nested}]><html><body><p>Before &j; after, words enough.</p></body></html>'
    )
    assert "lol" not in load(tmp_path, page, HTML).text


@pytest.mark.parametrize(
    "pointer", ["Related: The 15 weirdest galaxies", "Read more: What they are", "相关阅读：合同法的历史"]
)
def test_html_pointers_to_other_pages_are_left_out(tmp_path: Path, pointer: str) -> None:
    page = PAGE.replace("<h2>", f'<p><a href="/other">{pointer}</a></p><h2>', 1)
    assert load(tmp_path, page, HTML).text == load(tmp_path, PAGE, HTML).text


def test_html_sentences_that_begin_like_a_pointer_stay(tmp_path: Path) -> None:
    page = PAGE.replace("<h2>", "<p>相关阅读：本条与第五条一并阅读，不得单独适用。</p><h2>", 1)
    assert "本条与第五条一并阅读" in load(tmp_path, page, HTML).text


def test_html_entities_and_files_are_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret words")
    entity = f'<!DOCTYPE html [<!ENTITY x SYSTEM "file://{secret}">]>'
    page = entity + "<html><body><p>Before &x; after, words enough.</p></body></html>"
    assert "secret words" not in load(tmp_path, page, HTML).text


@pytest.mark.parametrize("page", ["<html></html>", "<html><script>x</script></html>", "<body>&nbsp;</body>"])
def test_html_without_text(tmp_path: Path, page: str) -> None:
    assert fail(tmp_path, page, HTML) == "no_text"


def test_small_html_is_read_whole(tmp_path: Path) -> None:
    assert load(tmp_path, "<p>字</p>", HTML).text == "字"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<svg><h1><table><tr><td>", None),  # htmldate: an assertion of lxml
        ("<svg><text>drawn</text></svg><p>一句话在图的后面。", "一句话在图的后面。"),
    ],
)
def test_a_page_that_breaks_one_parser_is_left_to_the_others(tmp_path: Path, page: str, text: str | None) -> None:
    found = load_or_code(tmp_path, page.encode(), HTML)
    assert (found if isinstance(found, str) else found.text) == (text or "no_text")


def test_a_headline_without_end_is_no_title(tmp_path: Path) -> None:
    """It would stand above each chunk of the page."""
    document = load(tmp_path, f"<body><h1>{'题' * 5_000}</h1><p>{'正文。' * 50}</p></body>", HTML)
    assert document.title == "题" * 300
    assert [(one.end, one.title) for one in document.headings] == [(5_000, "题" * 300)]


# -- PDF ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\n", b"%PDF-1.7\ntrailer<</Root 1 0 R>>\n%%EOF", b"no pdf"])
def test_pdf_that_is_none(tmp_path: Path, content: bytes) -> None:
    assert fail(tmp_path, content, PDF) == "pdf_malformed"


def test_pdf_files_with_a_hostile_name_are_only_a_path(tmp_path: Path) -> None:
    path = tmp_path / "x%s;.pdf"
    path.write_bytes(b"%PDF-")
    with pytest.raises(DocumentFailed):
        load_document(path, PDF, LoadLimits())


# -- anything at all ------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "<div>",
        "</p>",
        "<p",
        "<table><tr><td>",
        "<!--",
        "-->",
        "<script>",
        "</script>",
        "&#0;",
        "&#xd800;",
        "<title>",
        "<h1>",
        "</h1>",
        "# ",
        "\n",
        "```",
        "---\n",
        "===\n",
        "title: x\n",
        "字",
        "，",
        "a",
        "\x00",
        "\ufeff",
        "\ud7ff",
        "<svg>",
        "<pre>",
        "<code>",
        "<li>",
        "<br>",
        "<a href='javascript:x'>",
        "\u2028",
        "<head>",
        "</html>",
        "<body>",
        "words of a sentence. ",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(content=st.lists(PIECES, max_size=60).map("".join).map(str.encode) | st.binary(max_size=300))
@pytest.mark.parametrize("media_type", [PLAIN, MARKDOWN, HTML])
def test_anything_gives_a_document_or_a_failure(tmp_path: Path, content: bytes, media_type: str) -> None:
    document = load_or_code(tmp_path, content, media_type)
    if isinstance(document, str):
        assert document in CODES
        return
    assert document.text.strip()
    assert "\x00" not in document.text
    document.text.encode()
    for heading in document.headings:
        assert 0 <= heading.start < heading.end <= len(document.text)
    assert document.pages[-1].end == len(document.text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(content=st.binary(max_size=500))
def test_any_pdf_gives_a_failure(tmp_path: Path, content: bytes) -> None:
    assert fail(tmp_path, b"%PDF-1.4\n" + content, PDF) in {"pdf_malformed", "no_text", "pdf_encrypted"}
