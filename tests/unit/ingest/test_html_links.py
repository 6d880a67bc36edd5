"""What is read out of a web page of its links, its canonical address and its robots tags."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.loaders import read_links
from ingest.parse_frames import describe_links, read_page_links
from ingest.web.page import LONGEST_URL, MOST_LINKS, PageLinks
from kb.errors import DocumentFailed

URL = "https://docs.example/guide/start.html"


def read(page: str | bytes, content_type: str | None = "text/html", url: str = URL) -> PageLinks:
    return read_links(page.encode() if isinstance(page, str) else page, content_type, url)


def links(page: str, url: str = URL) -> list[str]:
    return list(read(page, url=url).links)


@pytest.mark.parametrize(
    ("href", "link"),
    [
        ("next.html", "https://docs.example/guide/next.html"),
        ("/top", "https://docs.example/top"),
        ("../a/./b", "https://docs.example/a/b"),
        ("?page=2", "https://docs.example/guide/start.html?page=2"),
        ("#part", "https://docs.example/guide/start.html#part"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("HTTP://Other.Example/X", "http://Other.Example/X"),
        ("https://other.example:8443/x?a=1&amp;b=2#c", "https://other.example:8443/x?a=1&b=2#c"),
        ("文档/第一章.html", "https://docs.example/guide/文档/第一章.html"),
        ("&#x6587;", "https://docs.example/guide/文"),
        ("  \n/sp\tlit\n/up  ", "https://docs.example/split/up"),
        ("/cafe\u0301", "https://docs.example/cafe\u0301"),  # two addresses, though one word
        ("/caf\u00e9", "https://docs.example/caf\u00e9"),
        ("/with space", "https://docs.example/with space"),
        ("/a%20b", "https://docs.example/a%20b"),
    ],
)
def test_a_link_is_resolved_against_its_page(href: str, link: str) -> None:
    assert links(f"<p>See <a href='{href}'>it</a>.") == [link]


@pytest.mark.parametrize(
    ("content", "link"),
    [
        ("0; url=en/latest/", "https://docs.example/guide/en/latest/"),
        ("0;URL='/zh/首页.html'", "https://docs.example/zh/首页.html"),
        ("0.5 ; url = /a", "https://docs.example/a"),
        ("0; url=/it's", "https://docs.example/it's"),
        ("3, /x?a=1&amp;b=2", "https://docs.example/x?a=1&b=2"),
        ("0 https://other.example/", "https://other.example/"),
        ("0; url=javascript:alert(1)", None),
        ("30", None),
        ("30;", None),
        ("", None),
        (" " * 20_000, None),
        ("0" + " " * 20_000 + "''", None),
    ],
)
def test_where_a_page_sends_its_readers_is_a_link(content: str, link: str | None) -> None:
    page = f'<meta http-equiv=Refresh content="{content}"><meta name=refresh content="0; /no"><a href=/z>z</a>'
    assert links(page) == [*([link] if link else []), "https://docs.example/z"]


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert(1)",
        "JaVa\nScRiPt:x()",
        "mailto:a@b.example",
        "tel:+861234",
        "data:text/html,<p>x",
        "ftp://files.example/x",
        "file:///etc/passwd",
        "about:blank",
        "http://",
        "http://[",
        "http://[::1",
        "",
        "   ",
        "x" * 2_049,
        "/" + "字" * 2_040,
    ],
)
def test_what_no_page_could_be_asked_for_by_is_left_out(href: str) -> None:
    assert links(f'<a href="{href}">x</a><a href="/good">x</a>') == ["https://docs.example/good"]


def test_which_elements_count_and_in_which_order() -> None:
    page = """<html><head><link rel="stylesheet" href="/style.css"><link rel="next" href="/next"></head><body>
    <nav><a href="/1">x</a></nav><map><area href="/2"></map><a>no address</a><a name="x">x</a>
    <svg><a href="/3"></a></svg><noscript><a href="/4">x</a></noscript><form action="/form"></form>
    <iframe src="/frame"></iframe><img src="/picture"><template><a href="/template">x</a></template>
    <script>document.write('<a href="/script">')</script><!-- <a href="/comment"> --><textarea>
    <a href="/text"></textarea>
    <a href="/1">once more</a><a href="/5" rel="noopener">x</a></body></html>"""
    assert links(page) == [f"https://docs.example/{number}" for number in range(1, 6)]


@pytest.mark.parametrize("rel", ["nofollow", "NoFollow", "ugc nofollow", "sponsored\nnofollow"])
def test_a_link_marked_nofollow_is_left_out(rel: str) -> None:
    assert links(f"<a rel='{rel}' href='/no'>x</a><a rel='external' href='/yes'>x</a>") == ["https://docs.example/yes"]


@pytest.mark.parametrize(
    ("base", "link"),
    [
        ("<base href='/other/'>", "https://docs.example/other/x"),
        ("<base href='https://mirror.example/a/b'>", "https://mirror.example/a/x"),
        ("<base href=' sub/ '>", "https://docs.example/guide/sub/x"),
        ("<base href='/one/'><base href='/two/'>", "https://docs.example/one/x"),
        ("<base target='_top'><base href='/two/'>", "https://docs.example/two/x"),
        ("<base href='http://['>", "https://docs.example/guide/x"),
        ("<base href='javascript:x'>", "https://docs.example/guide/x"),
        ("<base href='data:,x'>", "https://docs.example/guide/x"),
        ("<base href=''>", "https://docs.example/guide/x"),
        (f"<base href='/{'x' * 3_000}/'>", "https://docs.example/guide/x"),
    ],
)
def test_a_base_counts_where_it_could_be_asked_for(base: str, link: str) -> None:
    assert links(f"<html><head>{base}</head><body><a href='x'>x</a>") == [link]


@pytest.mark.parametrize(
    ("head", "canonical"),
    [
        ("<link rel=canonical href=/a>", "https://docs.example/a"),
        ("<link rel='alternate CANONICAL' href='https://www.example/a?b=1'>", "https://www.example/a?b=1"),
        ("<base href='/b/'><link rel=canonical href=a>", "https://docs.example/b/a"),
        ("<link rel=canonical href=/a><link rel=canonical href=/b>", "https://docs.example/a"),
        ("<link rel=canonical href='javascript:x'>", None),
        ("<link rel=canonical>", None),
        ("<link rel=icon href=/a>", None),
        ("", None),
    ],
)
def test_the_canonical_address(head: str, canonical: str | None) -> None:
    assert read(f"<html><head>{head}</head><body>words").canonical == canonical


def test_a_canonical_address_in_the_body_is_a_strangers() -> None:
    assert read("<html><head></head><body><p>words<link rel=canonical href=/a>").canonical is None


@pytest.mark.parametrize(
    ("meta", "nofollow", "noindex"),
    [
        ("<meta name=robots content=noindex>", False, True),
        ("<meta name=ROBOTS content='NoIndex, NoFollow'>", True, True),
        ("<meta name='robots' content='none'>", True, True),
        ("<meta name=robots content='index,nofollow,noarchive'>", True, False),
        ("<meta name=robots content=noindex><meta name=robots content=nofollow>", True, True),
        ("<meta name=kb-server content=nofollow>", True, False),
        ("<meta name=otherbot content='noindex,nofollow'>", False, False),
        ("<meta name=description content='noindex'>", False, False),
        ("<meta name=robots>", False, False),
        ("", False, False),
    ],
)
def test_robots_meta(meta: str, *, nofollow: bool, noindex: bool) -> None:
    found = read(f"<html><head>{meta}</head><body><a href=/x>x</a>")
    assert (found.nofollow, found.noindex) == (nofollow, noindex)
    assert found.links == ("https://docs.example/x",)


CHINESE = (
    "<html><head>{head}</head><body><p>这是一个关于天文台的页面，我们在这里说明如何使用它。</p><a href='/{name}'>x</a>"
)


@pytest.mark.parametrize(
    ("codec", "content_type", "head"),
    [
        ("utf-8", "text/html", ""),
        ("utf-8", "text/html; charset=gbk", "<meta charset=big5>"),  # all of it lies
        ("utf-8-sig", "text/html; charset=gbk", ""),
        ("gbk", "text/html; charset=gb2312", ""),
        ("gbk", 'text/html; Charset="GBK"', "<meta charset=utf-8>"),  # the header counts before the page
        ("gbk", "text/html", "<meta charset=gbk>"),
        ("gbk", None, ""),
        ("gbk", "text/html; charset=utf-8", "<meta charset=gb2312>"),
        ("gbk", "text/html; charset=ISO-8859-1", ""),  # what some servers say of everything
        ("gbk", "text/html; charset=big5", "<meta charset=x-unknown>"),
        ("utf-16", "text/html", ""),
        ("utf-16-le", "text/html; charset=utf-16le", ""),
        ("utf-16-be", "text/html; charset=utf-8", "<meta charset=gbk>"),
        ("utf-32", None, ""),
    ],
)
def test_links_in_any_encoding(codec: str, content_type: str | None, head: str) -> None:
    page = CHINESE.format(head=head, name="望远镜").encode(codec)
    assert read(page, content_type).links == ("https://docs.example/望远镜",)


def test_links_in_big5() -> None:
    page = "<body><p>這是一個關於天文臺的頁面，我們在這裡說明如何使用望遠鏡。</p><a href='/望遠鏡'>x</a>".encode("big5")
    for content_type in ("text/html; charset=big5", "text/html; charset=gbk", None):
        assert read(page, content_type).links == ("https://docs.example/望遠鏡",)


@pytest.mark.parametrize(
    "page",
    [b"", b"\x00\xff\xfe" * 50, codecs.BOM_UTF16_LE, b"<", b"<a href=", b"%PDF-1.7", "plain words".encode("utf-16")],
)
def test_what_is_no_page_has_no_links(page: bytes) -> None:
    assert read(page) == PageLinks()


def test_so_many_links_and_no_more() -> None:
    found = links("".join(f"<a href=/{number}>x</a>" for number in range(MOST_LINKS + 1)))
    assert (len(found), found[-1]) == (MOST_LINKS, f"https://docs.example/{MOST_LINKS - 1}")


def test_links_have_a_length_together_as_well() -> None:
    tail = "x" * (LONGEST_URL - 50)
    found = links("".join(f"<a href=/{number:06}{tail}>x</a>" for number in range(3_000)))
    assert 900 < len(found) < 1_100
    assert max(map(len, found)) <= LONGEST_URL


@pytest.mark.parametrize("tag", ["div", "b", "table", "ul"])
def test_a_page_nested_200k_deep_tells_its_links(tag: str) -> None:
    """Bad input 44: what is too deep to be a document may still lead on."""
    assert links(f"<html><body><a href=/1>x</a>{f'<{tag}>' * 200_000}<a href=/2>x</a>") == [
        "https://docs.example/1",
        "https://docs.example/2",
    ]


def test_two_million_attributes_are_refused_at_once() -> None:
    """Bad input 46."""
    attributes = " ".join(f"a{number}=1" for number in range(2_000_000))
    with pytest.raises(DocumentFailed, match="more than 50,000 attributes") as caught:
        read(f"<html><body><a {attributes} href=/1>x</a>")
    assert caught.value.code == "parse_limit"


def test_attributes_over_many_tags_are_nothing_special() -> None:
    attributes = " ".join(f"a{number}=1" for number in range(100))
    assert len(links("".join(f"<a {attributes} href=/{number}>x</a>" for number in range(4_000)))) == 4_000


MARKUP = [
    "<a href=",
    "<a href='",
    "'>x</a>",
    "<base href='",
    "<link rel=canonical href='",
    "<meta name=robots content='",
]
WORDS = [
    "</head>",
    "<svg>",
    "<template>",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "noindex",
    "字",
    "a.example",
    "data:",
]
SIGNS = [
    "http://",
    "https://",
    "//",
    "../",
    "?",
    "#",
    "[",
    "]",
    "@",
    ":80",
    "%",
    "%zz",
    "\\",
    " ",
    "\n",
    "\0",
    "&#xd800;",
]
PIECES = st.sampled_from([*MARKUP, *WORDS, *SIGNS])


@settings(deadline=None, max_examples=300)
@given(page=st.lists(PIECES, max_size=40).map("".join).map(str.encode) | st.binary(max_size=200))
def test_whatever_a_page_holds_its_links_are_believed_by_their_owner(page: bytes) -> None:
    found = read(page)
    assert read_page_links(describe_links(found), b"") == found
