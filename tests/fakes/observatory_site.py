"""The site of an observatory: 30 English and 30 Chinese pages of our own writing, and what real sites have around them.

Menus with session ids, tables, code, an advertisement that is another one at each request, six encodings with headers
and meta tags that lie, states told by ETag, by Last-Modified or not at all, redirects, copies, robots.txt and sitemaps.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fakes.bare_pdf import bind_pdf
from fakes.site_server import FIRST_DAY, Answer, SiteServer
from opencc import OpenCC

TEXTS = Path(__file__).parents[1] / "samples" / "site"
HOME = (
    "The observatory on Cold Spring Hill looks after its telescopes, its weather station and its guests. 冷泉山天文台。"
)
HUBS = {
    "en": "These pages tell in English what guests and members of the observatory should know before they come here.",
    "zh": "这里用中文说明来宾和会员上山之前应当知道的事情，包括开放时间、票价、交通以及各种设备的使用办法。",
}
NOTES = "值班日志：三月五日夜间多云，望远镜没有打开。值班员清点了工具，给圆顶的轮子上了油。"
MANUAL = "The valve of the cistern opens to the left and must be greased every second winter."
BROCHURE = "This brochure names the nine peaks that can be seen from the gallery on a clear day."
ADVERTISEMENT = "Advertisement number"
TABLE_EVERY, CODE_EVERY = 4, 5  # of the pages of each language
DATE = "2025-06-07"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A page of ours. `number` is its place in its language; `path` is readable."""

    language: str
    number: int
    slug: str
    title: str
    paragraphs: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/{self.language}/{self.slug}.html"

    @property
    def codec(self) -> str:
        """What its bytes are in. English pages are UTF-8 but for one."""
        if self.language == "en":
            return "utf-16" if self.number == 7 else "utf-8"
        return ("utf-8", "gbk", "gbk", "big5", "utf-16", "utf-8")[self.number % 6]

    @property
    def shown(self) -> tuple[str, ...]:
        """Its paragraphs as they stand on the page: those in Big5 are traditional."""
        return tuple(map(_write_traditional, self.paragraphs)) if self.codec == "big5" else self.paragraphs

    @property
    def has_table(self) -> bool:
        return self.number % TABLE_EVERY == 1

    @property
    def has_code(self) -> bool:
        return self.number % CODE_EVERY == 2

    @property
    def has_advertisement(self) -> bool:
        return self.number % 10 == 9

    @property
    def tells_state(self) -> str | None:
        return ("etag", "etag", "etag", "modified", None)[self.number % 5]


@cache
def list_texts() -> tuple[Text, ...]:
    found = []
    for language in ("en", "zh"):
        parts = (TEXTS / f"{language}.txt").read_text("utf-8").split("## ")[1:]
        for number, part in enumerate(parts):
            head, *paragraphs = part.strip().split("\n")
            slug, _, title = head.partition(" | ")
            found.append(Text(language=language, number=number, slug=slug, title=title, paragraphs=tuple(paragraphs)))
    return tuple(found)


def find_text(path: str) -> Text:
    return next(text for text in list_texts() if text.path == path)


# -- pages ----------------------------------------------------------------------------------------------------------


def write_page(text: Text, paragraphs: Iterable[str] | None = None) -> str:
    """Its markup, with `{advertisement}` where one stands; `paragraphs` in place of its own."""
    told = text.shown if paragraphs is None else tuple(paragraphs)
    traditional = text.codec == "big5"
    title = _write_traditional(text.title) if traditional else text.title
    middle = (_write_table(text) if text.has_table else "") + (_write_code(text) if text.has_code else "")
    body = "".join(f"<p>{paragraph}</p>" for paragraph in told[:1]) + middle
    body += "".join(f"<p>{paragraph}</p>" for paragraph in told[1:])
    place = "<aside class='ad' id='ad-banner'><p>{advertisement}</p></aside>" if text.has_advertisement else ""
    return (
        f"<!DOCTYPE html><html lang='{'zh-CN' if text.language == 'zh' else 'en'}'><head>{_write_meta(text)}"
        f"<title>{title}</title><script>var visits = 1;</script><style>p {{ color: black }}</style></head><body>"
        f"{_write_menu(text)}{place}<main><article><h1>{title}</h1>{body}</article></main>"
        f"<footer><p>Cold Spring Hill — all pages</p></footer><!-- made by hand --></body></html>"
    )


def _write_meta(text: Text) -> str:
    declared = {0: "<meta charset='utf-8'>", 2: "<meta charset='gb2312'>", 5: "<meta charset='gbk'>"}
    charset = declared.get(text.number % 6, "") if text.language == "zh" else ""
    dated = f"<meta property='article:modified_time' content='{DATE}T08:00:00Z'>" if text.number % 3 == 0 else ""
    return charset + dated


def _write_menu(text: Text) -> str:
    """Each page leads to its neighbours, to the start under a session id, and to where no page is."""
    texts = [other for other in list_texts() if other.language == text.language]
    before, after = texts[text.number - 1], texts[(text.number + 1) % len(texts)]
    session = hashlib.sha256(text.path.encode()).hexdigest()
    links = [
        f"/?PHPSESSID={session[:32]}",
        f"/{text.language}/?utm_source=menu",
        f"{before.path}#top",
        f"../{after.language}/{after.slug}.html",
        "mailto:warden@observatory.example",
        "javascript:history.back",
        "/private/diary.html",
    ]
    if text.codec == "big5":  # which has no simplified characters
        links = [quote(link, safe="/:?=#.") for link in links]
    return "<nav><ul>" + "".join(f"<li><a href='{link}'>menu</a></li>" for link in links) + "</ul></nav>"


def _write_table(text: Text) -> str:
    """Two rows that stand on no other page."""
    rows = [(f"{text.slug} {row}", str(10 * text.number + row)) for row in (1, 2)]
    if text.codec == "big5":
        rows = [(_write_traditional(name), value) for name, value in rows]
    cells = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _write_code(text: Text) -> str:
    return f"<pre>read --sensor {text.number}\nwrite --year {1900 + text.number}</pre>"


@cache
def _open_converter() -> OpenCC:
    return OpenCC("s2tw")


def _write_traditional(text: str) -> str:
    return str(_open_converter().convert(text))


def make_answer(text: Text, paragraphs: Iterable[str] | None = None, modified: float = FIRST_DAY) -> Answer:
    """The page as its server gives it."""
    markup = write_page(text, paragraphs)
    header = {"zh": {0: "; charset=utf-8", 1: "; charset=gbk", 3: "; charset=Big5", 5: "; charset=gbk"}}
    content_type = "text/html" + header.get(text.language, {}).get(text.number % 6, "")
    told: dict[str, Any] = {"content_type": content_type}
    if text.tells_state == "etag":
        told["etag"] = f'"{hashlib.sha256(markup.encode()).hexdigest()[:12]}"'
    elif text.tells_state == "modified":
        told["modified"] = modified
    if text.has_advertisement:
        return Answer(body=lambda number: _advertise(markup, number).encode(text.codec), **told)
    return Answer(body=markup.encode(text.codec), **told)


def _advertise(markup: str, number: int) -> str:
    return markup.replace("{advertisement}", f"{ADVERTISEMENT} {number}: lamps for your garden, cheaper than ever")


# -- the site -------------------------------------------------------------------------------------------------------

COPIES = ("/en/prices-print.html", "/copy/prices.html")  # of /en/prices.html: one says so
REDIRECTS = {"/old/visits": "/older/visits", "/older/visits": "/en/visits.html"}
OTHERS = {
    "/files/notes.txt": NOTES,
    "/files/manual.pdf": MANUAL,
    "/files/brochure": BROCHURE,  # a PDF that its server calls a page
}
SLOW = "/en/snow.html"


def build_site() -> SiteServer:
    site = SiteServer()
    texts = list_texts()
    site.answers = {text.path: make_answer(text) for text in texts}
    site.change(SLOW, delay=0.3)
    prices = find_text("/en/prices.html")
    markup = write_page(prices)
    canonical = "<link rel='canonical' href='/en/prices.html'></head>"
    site.answers |= {
        "/": _make_hub(
            "Observatory", HOME, ["/en/", "/zh/", *REDIRECTS, "/loop/a", *COPIES, *OTHERS, "/en/empty.html"]
        ),
        "/en/": _make_hub("Guests", HUBS["en"], [text.path for text in texts if text.language == "en"]),
        "/zh/": _make_hub("来宾须知", HUBS["zh"], [text.path for text in texts if text.language == "zh"]),
        COPIES[0]: Answer(body=markup.replace("</head>", canonical).encode()),
        COPIES[1]: Answer(body=markup.encode(), etag='"copy"'),
        "/files/notes.txt": Answer(body=NOTES.encode("gbk"), content_type="text/plain; charset=gbk", etag='"notes"'),
        "/files/manual.pdf": Answer(body=write_pdf(MANUAL), content_type="application/pdf", modified=FIRST_DAY),
        "/files/brochure": Answer(body=write_pdf(BROCHURE), content_type="text/html; charset=utf-8", etag='"nine"'),
        "/en/empty.html": Answer(),
        "/private/diary.html": Answer(body=b"<p>Nobody is to read what stands in the diary of the warden.</p>"),
        "/loop/a": Answer(status=302, target="/loop/b"),
        "/loop/b": Answer(status=302, target="/loop/a"),
        "/robots.txt": Answer(body=b"User-agent: *\nDisallow: /private/\n", content_type="text/plain"),
        "/feed": Answer(content_type="application/rss+xml", body=b"<rss></rss>"),
    }
    site.answers |= {old: Answer(status=301, target=new) for old, new in REDIRECTS.items()}
    return site


def list_expected(site: SiteServer) -> dict[str, str]:
    """What must answer after a crawl from the start: address → a sentence of it."""
    found = {site.locate(text.path): text.shown[0] for text in list_texts()}
    found |= {site.locate("/"): HOME, **{site.locate(f"/{name}/"): words for name, words in HUBS.items()}}
    return found | {site.locate(path): words for path, words in OTHERS.items()}


def _make_hub(title: str, words: str, paths: Iterable[str]) -> Answer:
    links = "".join(f"<li><a href='{path}'>{path}</a></li>" for path in paths)
    markup = (
        f"<html><head><title>{title}</title></head><body><main><h1>{title}</h1><p>{words}</p></main>"
        f"<nav><ul>{links}</ul></nav></body></html>"
    )
    return Answer(body=markup.encode(), etag=f'"{hashlib.sha256(markup.encode()).hexdigest()[:12]}"')


def add_calendar(site: SiteServer) -> None:
    """Each month leads to the one before and the one after, for ever."""

    def make(path: str) -> Answer | None:
        found = re.fullmatch(r"/calendar/(\d+)-(\d+)\.html", path)
        if found is None:
            return None
        month = int(found[1]) * 12 + int(found[2]) - 1
        links = [f"/calendar/{near // 12}-{near % 12 + 1:02}.html" for near in (month - 1, month + 1)]
        return _make_hub("Calendar", f"In month {found[2]} of the year {found[1]} nothing is planned so far.", links)

    site.make = make
    page = site.answers["/"].write(1).replace(b"</ul>", b"<li><a href='/calendar/2026-01.html'>calendar</a></li></ul>")
    site.change("/", body=page, etag='"with a calendar"')


def add_sitemaps(site: SiteServer) -> None:
    """An index of two, one of them packed; one page stands in neither."""
    texts = [text for text in list_texts() if text.path != "/en/history.html"]
    for language in ("en", "zh"):
        places = [site.locate(text.path) for text in texts if text.language == language]
        lines = "".join(f"<url><loc>{place}</loc><lastmod>2026-01-01</lastmod></url>" for place in places)
        body = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{lines}</urlset>'.encode()
        name = "/sitemap-en.xml" if language == "en" else "/sitemap-zh.xml.gz"
        packed = language == "zh"
        content_type = "application/gzip" if packed else "application/xml"
        site.answers[name] = Answer(body=gzip.compress(body) if packed else body, content_type=content_type)
    parts = "".join(
        f"<sitemap><loc>{site.url}{name}</loc></sitemap>" for name in ("/sitemap-en.xml", "/sitemap-zh.xml.gz")
    )
    index = f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{parts}</sitemapindex>'
    site.answers["/sitemap.xml"] = Answer(body=index.encode(), content_type="application/xml")


def write_pdf(words: str) -> bytes:
    """One page with one line of ASCII."""
    content = f"BT /F 11 Tf 40 700 Td ({words}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 900 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    return bind_pdf(objects)
