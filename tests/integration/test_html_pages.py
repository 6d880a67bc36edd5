"""Pages of the web as documents: what is kept of their content, what they say of themselves, and bad ones.

Bad inputs 44 to 51 each have a test that names its number: here, of the depth and the attributes in
`tests/faults/test_parsing.py`, of SVG and XML in `tests/unit/kb/test_media_type.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.loaders import LoadLimits, load_document
from kb.media_type import HTML, PLAIN, add_charset, find_charset, split_charset
from kb.types import ParsedDocument

FIRST = "The observatory opens its dome on every clear evening, and visitors may look through the large telescope."
LAST = "Groups of more than ten visitors announce themselves a week before, by telephone or in writing."


def load(folder: Path, content: str | bytes, media_type: str = HTML) -> ParsedDocument:
    path = folder / "page"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_document(path, media_type, LoadLimits())


def wrap(inner: str, head: str = "", language: str = "en") -> str:
    """A page with a menu and a foot around its content."""
    return f"""<!DOCTYPE html><html lang="{language}"><head><title>Visits</title>{head}</head><body>
    <nav><ul><li><a href="/">Home page</a></li><li><a href="/about">About the club</a></li></ul></nav>
    <main><article><h1>Visits</h1><p>{FIRST}</p>{inner}<p>{LAST}</p></article></main>
    <footer><p>Copyright of the club, all rights kept</p></footer></body></html>"""


@pytest.mark.parametrize(
    ("inner", "kept"),
    [
        ("<pre>kb serve --port 80\nkb worker</pre>", "kb serve --port 80\nkb worker"),
        ("<pre><code class='x'>if a:\n    b()\n</code></pre>", "if a:\n    b()"),
        ("<pre>kb serve --port 80</pre>", "kb serve --port 80"),
        ("<pre><b></b><b class=k>def</b> <i>f</i>():\n    <b>return</b> <i>1</i></pre>", "def f():\n    return 1"),
        ("<pre>a = 1<br>b = &lt;2&gt;</pre>", "a = 1\nb = <2>"),
        ("<p>The option <code>--port</code> chooses another port.</p>", "The option --port chooses another port"),
        ("<p>Press <kbd>Ctrl</kbd>+<kbd>C</kbd> to end it at once.</p>", "Press Ctrl+C to end it at once."),
        (
            "<table><thead><tr><th>Name</th><th>Price</th></tr></thead><tbody><tr><td>Gold</td><td>12</td></tr></table>",
            "Name | Price\nGold | 12",
        ),
        (
            "<table><tr><th>Name</th><th>Page</th></tr><tr><td><a href=/g>Gold</a></td><td><a href=/h>of gold</a></td>",
            "Name | Page\nGold | of gold",
        ),
        ("<table><caption>Prices</caption><tr><th>Tin</th><td>3</td></tr></table>", "Prices\nTin | 3"),
        ("<p>See <a href=/1>the first part</a> and <a href=/2>the next</a>.</p>", "See the first part and the next."),
        ("<ol><li>Open the dome slowly.</li><li>Point at the moon.</li></ol>", "- Open the dome slowly.\n- Point"),
        ("<dl><dt>Dome</dt><dd>The round roof of the house.</dd></dl>", "Dome\n- The round roof of the house."),
        ("<blockquote><p>Stars are far away.</p></blockquote>", "Stars are far away."),
        ("<details><summary>Why closed?</summary><p>It is cleaned.</p></details>", "closed?\nIt is cleaned."),
        ("<h2>开放时间</h2><p>周五晚上七点到十点。</p>", "开放时间\n周五晚上七点到十点。"),
    ],
)  # fmt: skip
def test_what_is_kept(tmp_path: Path, inner: str, kept: str) -> None:
    text = load(tmp_path, wrap(inner)).text
    assert kept in text
    assert text.startswith(f"Visits\n{FIRST}")
    assert text.endswith(LAST)


@pytest.mark.parametrize(
    "inner",
    [
        "<ul><li><a href=/1>The first chapter of all</a></li><li><a href=/2>The second chapter</a></li></ul>",
        "<p style='display:none'>hidden words of a page</p>",
        "<div class='share'><a href='https://x.example'>Share this page</a></div>",
    ],
)
def test_what_is_left_out(tmp_path: Path, inner: str) -> None:
    """Lists of nothing but links lead elsewhere."""
    assert load(tmp_path, wrap(inner)).text == f"Visits\n{FIRST}\n{LAST}"


PUBLISHED = '<meta property="article:published_time" content="2023-01-02">'


@pytest.mark.parametrize(
    ("head", "inner", "date"),
    [
        ('<meta property="article:published_time" content="2024-05-06T07:08:09+08:00">', "", "2024-05-06"),
        (PUBLISHED + '<meta property="article:modified_time" content="2024-05-06T00:00:00Z">', "", "2024-05-06"),
        ('<script type="application/ld+json">{"datePublished":"2022-03-04"}</script>', "", "2022-03-04"),
        (
            '<script type="application/ld+json">{"datePublished":"2022-03-04","dateModified":"2023-04-05"}</script>',
            "",
            "2023-04-05",
        ),
        ("", '<time datetime="2021-12-24T18:00">Christmas Eve</time>', "2021-12-24"),
        ("", "<p class='date'>发布时间：2019年11月8日</p>", "2019-11-08"),
        ('<meta name="date" content="yesterday">', "", None),
        ('<meta property="article:published_time" content="0001-01-01">', "", None),
        ('<meta property="article:published_time" content="2999-01-01">', "", None),
        ("", "", None),
    ],
)  # fmt: skip
def test_the_day_a_page_was_last_changed(tmp_path: Path, head: str, inner: str, date: str | None) -> None:
    assert load(tmp_path, wrap(inner, head)).date == date


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("en", "望远镜的镜面每年清洗一次，由值班员记录在册，任何人不得擅自触摸。", "zh"),
        ("zh-CN", "The mirror is cleaned once a year, and nobody is to touch it.", "en"),
        ("ja", "望遠鏡取扱説明書、製造番号、使用前注意事項、保証期間、連絡先。", None),
        ("zh-TW", "2024 / 05 / 06 — 12:30, 7:45; 2024 / 05 / 07 — 13:30, 8:45", "zh"),
        ("fr", "2024 / 05 / 06 — 12:30, 7:45; 2024 / 05 / 07 — 13:30, 8:45", None),
        ("en", "Телескоп чистят раз в год, и никто не должен его трогать.", None),
    ],
)
def test_the_language_is_that_of_the_text(tmp_path: Path, language: str, text: str, found: str | None) -> None:
    page = f'<html class="x" lang="{language}"><body><p>{text}</p></body></html>'
    assert load(tmp_path, page).language == found


TELESCOPE = "<html><head>{}</head><body><p>这是一个关于天文台的页面，我们在这里说明如何使用望远镜，什么时候开放。</p>"
FRENCH = "<html>{}<p>Les élèves français révisent à la bibliothèque de l'école."
TRADITIONAL = "<html><head>{}</head><body><p>這是一個關於天文臺的頁面，我們在這裡說明如何使用望遠鏡，什麼時候開放。</p>"


@pytest.mark.parametrize(
    ("page", "codec", "header", "meta", "encoding"),
    [
        (TELESCOPE, "gbk", "text/html; charset=gbk", "", "gb18030"),
        (TELESCOPE, "gbk", "text/html; charset=GB2312", "<meta charset=utf-8>", "gb18030"),
        (TELESCOPE, "gbk", "text/html; charset=iso-8859-1", "", "gb18030"),
        (TELESCOPE, "gbk", "text/html;charset=windows-1252", "<meta charset=gbk>", "gb18030"),
        (TELESCOPE, "gbk", "text/html; charset=big5", "", "gb18030"),
        (TELESCOPE, "utf-8", "text/html; charset=gbk", "<meta charset=gbk>", "utf-8"),
        (TELESCOPE, "utf-16-le", "text/html; charset=utf-16le", "<meta charset=gbk>", "utf-16-le"),
        (TELESCOPE, "utf-16", "text/html; charset=gbk", "", "utf-16"),
        (TRADITIONAL, "big5", "text/html; charset=big5", "", "big5hkscs"),
        (TRADITIONAL, "big5", "text/html; charset=gbk", "", "big5"),
        (TRADITIONAL, "big5", "text/html", "", "big5"),
        (FRENCH, "cp1252", "text/html; charset=latin1", "", "cp1252"),
    ],
)  # fmt: skip
def test_whatever_is_said_of_a_pages_encoding(
    tmp_path: Path, page: str, codec: str, header: str, meta: str, encoding: str
) -> None:
    """Bad input 49: header and meta are believed in this order, and only where the bytes bear them out."""
    document = load(tmp_path, page.format(meta).encode(codec), add_charset(HTML, header))
    assert document.encoding == encoding
    assert document.text in page


def test_a_text_whose_server_says_its_encoding(tmp_path: Path) -> None:
    text = "Ж" * 3  # too little for any guess
    assert load(tmp_path, text.encode("koi8-r"), add_charset(PLAIN, "text/plain; charset=koi8-r")).text == text


@pytest.mark.parametrize(
    ("header", "charset"),
    [
        ("text/html; charset=GBK", "gbk"),
        ('text/html;charset="utf-8"; x=y', "utf-8"),
        ("text/html ; Charset = 'Big5'", "big5"),
        ("text/html", None),
        ("text/html; charset=", None),
        ("text/html; charset=" + "x" * 10 + "\r\nX: y", "x" * 10),
        ("charset=gbk", None),
        (None, None),
    ],
)
def test_the_charset_of_a_header(header: str | None, charset: str | None) -> None:
    assert find_charset(header) == charset
    assert split_charset(add_charset(HTML, header)) == (HTML, charset)
    assert add_charset("application/pdf", header) == "application/pdf"


def test_scripts_styles_and_comments_are_not_text(tmp_path: Path) -> None:
    """Bad input 47."""
    inner = (
        "<script>one()</script><style>.two{}</style><noscript>three words here</noscript><!-- four words here -->"
        "<template><p>five words here</p></template><svg><text>six</text></svg><iframe srcdoc='<p>seven</p>'></iframe>"
        "<!--[if IE]><p>eight words here</p><![endif]--><script type='text/template'><p>nine</p></script>"
        "<pre>kept<script>ten()</script></pre>"
    )
    assert load(tmp_path, wrap(inner)).text == f"Visits\n{FIRST}\nkept\n{LAST}"


def test_a_script_written_as_text_is_text(tmp_path: Path) -> None:
    """Bad input 51; how it is shown is the page's affair, which writes no markup."""
    assert (
        "<script>alert(1)</script> is"
        in load(tmp_path, wrap("<p>&lt;script&gt;alert(1)&lt;/script&gt; is a mark.")).text
    )


def test_entities_and_files_are_not_opened(tmp_path: Path) -> None:
    """Bad input 48: nothing is expanded, read or fetched."""
    secret = tmp_path / "secret"
    secret.write_text("the secret words")
    for address in (f"file://{secret}", "http://127.0.0.1:9/x"):
        entity = f'<!DOCTYPE html [<!ENTITY x SYSTEM "{address}"><!ENTITY % p SYSTEM "{address}">%p;]>'
        assert "secret words" not in load(tmp_path, entity + wrap("<p>Before &x; after it.</p>")).text


def test_refresh_and_base_lead_nowhere(tmp_path: Path) -> None:
    """Bad input 49."""
    head = '<meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/x"><base href="http://127.0.0.1:9/">'
    assert load(tmp_path, wrap("", head)).text == f"Visits\n{FIRST}\n{LAST}"


def test_thousands_of_headings_below_the_depth_of_the_first_reader(tmp_path: Path) -> None:
    """Bad input 45: the second reader takes them in one pass."""
    parts = "".join(f"<h2>Part {number}</h2><p>Words of part {number}.</p>" for number in range(3_000))
    document = load(tmp_path, wrap("<div>" * 300 + parts + "</div>" * 300))
    assert [heading.title for heading in document.headings if heading.level == 2] == [f"Part {n}" for n in range(3_000)]
