"""A hostile file costs its own document: the next one parses, and nothing outlives its owner."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.bare_pdf import bind_pdf
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, NameObject

from ingest.loaders import LoadLimits
from ingest.parsing import ParserLimits, ParserPool
from kb.errors import DocumentFailed, Unavailable
from kb.media_type import HTML, PDF, PLAIN
from kb.types import PageVerdict

pytestmark = pytest.mark.faults

HOSTILE = "fakes.hostile_loaders:load_hostile"
QUICK = ParserLimits(cpu_seconds=1, wall_seconds=3.0, memory_bytes=256 << 20)
# Where another limit is to be met first, a busy machine must not turn it into a time-out.
PATIENT = ParserLimits(cpu_seconds=1, wall_seconds=120.0, memory_bytes=256 << 20)
BOMB = ParserLimits(cpu_seconds=10, wall_seconds=60.0)
SHORT = ParserLimits(cpu_seconds=3, wall_seconds=30.0)


@pytest.fixture
def pool() -> Iterator[ParserPool]:
    with ParserPool(QUICK, loader=HOSTILE) as pool:
        yield pool


def write_deed(folder: Path, deed: str) -> Path:
    path = folder / f"{deed[:20]}.txt"
    path.write_text(deed)
    return path


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("spin", "parse_limit"),
        ("hang", "parse_timeout"),
        ("eat", "parse_limit"),
        ("segfault", "parser_crashed"),
        ("kill", "parser_crashed"),
        ("recurse", "parse_limit"),
        ("raise", "parser_crashed"),
        ("lie", "parser_crashed"),
        ("refuse too many", "parser_crashed"),
        ("write", "parser_crashed"),
    ],
)
def test_a_hostile_file_costs_itself_alone(tmp_path: Path, deed: str, code: str) -> None:
    with ParserPool(QUICK if deed == "hang" else PATIENT, loader=HOSTILE) as pool:
        before = pool.parse(write_deed(tmp_path, "pid"), PLAIN).text
        with pytest.raises(DocumentFailed) as caught:
            pool.parse(write_deed(tmp_path, deed), PLAIN)
        assert caught.value.code == code
        after = pool.parse(write_deed(tmp_path, "pid"), PLAIN).text
    assert after != before
    assert not Path(f"/proc/{before}").exists()


def test_a_crash_names_the_place_and_never_the_text(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(DocumentFailed) as caught:
        pool.parse(write_deed(tmp_path, "raise"), PLAIN)
    assert caught.value.detail.startswith("KeyError in hostile_loaders.py:")
    assert "secret" not in str(caught.value)


def test_a_refused_file_keeps_the_child(pool: ParserPool, tmp_path: Path) -> None:
    before = pool.parse(write_deed(tmp_path, "pid"), PLAIN).text
    with pytest.raises(DocumentFailed) as caught:
        pool.parse(write_deed(tmp_path, "refuse"), PLAIN)
    assert (caught.value.code, caught.value.detail) == ("no_text", "nothing in it")
    assert pool.parse(write_deed(tmp_path, "pid"), PLAIN).text == before


def test_a_refused_file_tells_of_its_pages(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(DocumentFailed) as caught:
        pool.parse(write_deed(tmp_path, "refuse pages"), PLAIN)
    assert caught.value.verdicts == (PageVerdict.SCANNED, PageVerdict.EMPTY)


@pytest.mark.parametrize("deed", ["kill once", "interrupt"])
def test_what_comes_from_outside_is_not_held_against_the_file(pool: ParserPool, tmp_path: Path, deed: str) -> None:
    """Ctrl-C, a service manager's SIGTERM, the kernel's out-of-memory killer: the file is read all the same."""
    assert pool.parse(write_deed(tmp_path, deed), PLAIN).text == "read"


def test_what_a_library_prints_is_not_taken_for_a_reply(pool: ParserPool, tmp_path: Path) -> None:
    assert pool.parse(write_deed(tmp_path, "print"), PLAIN).text == "heard"


def test_the_child_holds_no_secret(pool: ParserPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KB_DATABASE_URL", "postgresql://user:password@host/db")
    names = pool.parse(write_deed(tmp_path, "env"), PLAIN).text.split()
    assert "KB_DATABASE_URL" not in names
    assert set(names) <= {"PYTHONPATH", "PYTHONUTF8", "LC_CTYPE"}


PAGE_URL = "https://docs.example/a/"


def test_links_are_read_in_the_same_child_as_files(tmp_path: Path) -> None:
    page = (
        "<p>望远镜</p>" + "".join(f"<a href={number}>x</a>" for number in range(3)) + " " * 3_000_000
    )  # over any pipe
    with ParserPool(SHORT, loader=HOSTILE) as pool:
        before = pool.parse(write_deed(tmp_path, "pid"), PLAIN).text
        found = pool.read_links(page.encode("gbk"), "text/html; charset=gbk", PAGE_URL)
        assert found.links == tuple(f"{PAGE_URL}{number}" for number in range(3))
        assert pool.parse(write_deed(tmp_path, "pid"), PLAIN).text == before


def test_a_page_whose_links_take_too_long_costs_itself_alone(tmp_path: Path) -> None:
    """Bad input 46: attributes spread so that no tag has too many of them still end with the time they may take."""
    tag = "<p " + " ".join(f"a{number}=1" for number in range(45_000)) + ">"
    with ParserPool(PATIENT) as pool:
        with pytest.raises(DocumentFailed) as caught:
            pool.read_links((tag * 30).encode(), "text/html", PAGE_URL)
        assert caught.value.code == "parse_limit"
        assert pool.read_links(b"<a href=x>", None, PAGE_URL).links == (f"{PAGE_URL}x",)


def test_a_child_that_does_not_listen_holds_nobody_up() -> None:
    """A page larger than the pipe is written within the time that reading it may take."""
    limits = replace(QUICK, wall_seconds=0.5)
    with ParserPool(limits) as pool:
        pool.read_links(b"<a href=x>", None, PAGE_URL)
        child = pool._places.get()
        assert child is not None
        os.kill(child._process.pid, signal.SIGSTOP)
        pool._places.put(child)
        with pytest.raises(DocumentFailed) as caught:
            pool.read_links(b"<p>" + b" " * 5_000_000, None, PAGE_URL)
        assert caught.value.code == "parse_timeout"


def test_children_are_recycled_after_so_many_files(tmp_path: Path) -> None:
    with ParserPool(ParserLimits(files_per_child=2), loader=HOSTILE) as pool:
        pids = [pool.parse(write_deed(tmp_path, "pid"), PLAIN).text for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_children_are_recycled_when_they_grew(tmp_path: Path) -> None:
    with ParserPool(ParserLimits(rss_bytes=1 << 20), loader=HOSTILE) as pool:
        pids = [pool.parse(write_deed(tmp_path, "pid"), PLAIN).text for _ in range(2)]
    assert pids[0] != pids[1]


def test_processor_time_is_counted_for_each_file_anew(tmp_path: Path) -> None:
    text = tmp_path / "large.txt"
    text.write_text("一句话。" * 1_000_000)
    with ParserPool(ParserLimits(cpu_seconds=2)) as pool:
        for _ in range(6):
            assert len(pool.parse(text, PLAIN).text) == 4_000_000


def test_two_threads_and_two_children(tmp_path: Path) -> None:
    path = write_deed(tmp_path, "pid")
    pids: list[str] = []
    with ParserPool(QUICK, children=2, loader=HOSTILE) as pool:

        def parse_many() -> None:
            pids.extend(pool.parse(path, PLAIN).text for _ in range(20))

        threads = [threading.Thread(target=parse_many) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(pids) == 60
    assert 1 <= len(set(pids)) <= 2


def test_a_pool_whose_child_cannot_start_says_so(tmp_path: Path) -> None:
    with ParserPool(QUICK, loader="fakes.hostile_loaders:missing") as pool, pytest.raises(Unavailable) as caught:
        pool.parse(write_deed(tmp_path, "pid"), PLAIN)
    assert caught.value.code == "parser_unavailable"


@pytest.mark.parametrize("deed", ["pid", "hang"])
def test_children_die_with_their_owner(tmp_path: Path, deed: str) -> None:
    script = (
        "import sys; from pathlib import Path; from ingest.parsing import ParserPool\n"
        f"pool = ParserPool(loader={HOSTILE!r})\n"
        "print(pool.parse(Path(sys.argv[1]), 'text/plain').text, flush=True)\n"
        "pool.parse(Path(sys.argv[2]), 'text/plain')\n"
        "print('parsed', flush=True); sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(write_deed(tmp_path, "pid")), str(write_deed(tmp_path, deed))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        handle = os.pidfd_open(child)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    try:
        assert wait_for_end(handle, seconds=10)
    finally:
        os.close(handle)


def wait_for_end(handle: int, *, seconds: float) -> bool:
    """A pidfd is readable once the process has ended."""
    return bool(select.select([handle], [], [], seconds)[0])


# -- pages that OCR reads: time and memory of their own -----------------------------------------------------------

PAGED = ParserLimits(
    cpu_seconds=1,
    wall_seconds=60.0,
    memory_bytes=256 << 20,
    ocr_page_seconds=2,
    ocr_memory_bytes=512 << 20,
    load=LoadLimits(ocr_pages=3),
)


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("spin on a page", "parse_limit"),
        ("hang on a page", "parse_timeout"),
        ("begin for ever", "parser_crashed"),
        ("spin", "parse_limit"),
        ("eat", "parse_limit"),
    ],
)
def test_a_page_costs_its_own_time_and_no_more(tmp_path: Path, deed: str, code: str) -> None:
    limits = replace(PAGED, wall_seconds=2.0) if deed == "hang on a page" else PAGED
    with ParserPool(limits, loader=HOSTILE) as pool:
        with pytest.raises(DocumentFailed) as caught:
            pool.parse(write_deed(tmp_path, deed), PLAIN)
        assert caught.value.code == code
        assert pool.parse(write_deed(tmp_path, "print"), PLAIN).text == "heard"


@pytest.mark.parametrize(("deed", "text"), [("read slowly", "read"), ("eat on a page", str(384 << 20))])
def test_pages_have_more_than_their_file(tmp_path: Path, deed: str, text: str) -> None:
    with ParserPool(PAGED, loader=HOSTILE) as pool:
        assert pool.parse(write_deed(tmp_path, deed), PLAIN).text == text


def test_without_ocr_no_file_gets_more(tmp_path: Path) -> None:
    with ParserPool(replace(PAGED, load=LoadLimits()), loader=HOSTILE) as pool:
        with pytest.raises(DocumentFailed) as caught:
            pool.parse(write_deed(tmp_path, "eat on a page"), PLAIN)
        assert caught.value.code in {"parse_limit", "parser_crashed"}


# -- files that are bombs ---------------------------------------------------------------------------------------


def build_pdf(content: bytes, *, filters: str = "/FlateDecode", pages: int = 1) -> bytes:
    kids = " ".join("3 0 R" for _ in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {pages}/Kids[{kids}]>>".encode(),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        f"<</Length {len(content)}/Filter[{filters}]>>stream\n".encode() + content + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    return bind_pdf(objects)


@pytest.fixture
def real_pool() -> Iterator[ParserPool]:
    with ParserPool(BOMB) as pool:
        yield pool


def parse_to_outcome(pool: ParserPool, path: Path, media_type: str) -> str:
    """The text, or the code of the failure."""
    try:
        return pool.parse(path, media_type).text
    except DocumentFailed as error:
        return error.code


def check_survives(pool: ParserPool, folder: Path) -> None:
    path = folder / "good.pdf"
    path.write_bytes(build_pdf(zlib.compress(b"BT /F 12 Tf 50 700 Td (Still here.) Tj ET")))
    assert pool.parse(path, PDF).text == "Still here."


BOMBS = {
    "flate bomb of 200 MB": lambda: build_pdf(zlib.compress(b"\0" * 200_000_000, 9)),
    "flate bomb in a flate bomb": lambda: build_pdf(
        zlib.compress(zlib.compress(b" " * 200_000_000, 9), 9), filters="/FlateDecode/FlateDecode"
    ),
    "1.5 M text operators": lambda: build_pdf(zlib.compress(b"BT /F 9 Tf " + b"(a)Tj " * 1_500_000 + b"ET", 9)),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_pdf_bombs_end_within_limits(real_pool: ParserPool, tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb.pdf"
    path.write_bytes(BOMBS[name]())
    outcome = parse_to_outcome(real_pool, path, PDF)
    assert outcome in {"parse_limit", "parse_timeout", "parser_crashed", "no_text"} or set(outcome) <= set("a \n")
    check_survives(real_pool, tmp_path)


def test_too_many_pages(real_pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(build_pdf(zlib.compress(b"BT ET"), pages=5_001))
    with pytest.raises(DocumentFailed) as caught:
        real_pool.parse(path, PDF)
    assert caught.value.code == "too_many_pages"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_truncated_pdfs_fail_or_give_their_text(real_pool: ParserPool, tmp_path: Path, share: float) -> None:
    whole = build_pdf(zlib.compress(b"BT /F 12 Tf 50 700 Td (Some words.) Tj ET"))
    path = tmp_path / "cut.pdf"
    path.write_bytes(whole[: int(share * len(whole))])
    assert parse_to_outcome(real_pool, path, PDF) in {"Some words.", "pdf_malformed", "no_text"}


@pytest.mark.parametrize(
    "body",
    [
        b"<</Type/Pages/Count 1/Kids[2 0 R]>>",
        b"<</Type/Pages/Count 99999999/Kids[3 0 R 2 0 R]>>",
        b"<</Type/Pages/Count -1/Kids[]>>",
        b"[" * 100_000,
    ],
    ids=["own kid", "lying count", "negative count", "nested arrays"],
)
def test_page_trees_that_lie(real_pool: ParserPool, tmp_path: Path, body: bytes) -> None:
    whole = build_pdf(zlib.compress(b"BT ET")).replace(b"<</Type/Pages/Count 1/Kids[3 0 R]>>", body)
    path = tmp_path / "cyclic.pdf"
    path.write_bytes(whole)
    with pytest.raises(DocumentFailed) as caught:
        real_pool.parse(path, PDF)
    assert caught.value.code in {"pdf_malformed", "no_text", "too_many_pages", "parse_limit", "parser_crashed"}
    check_survives(real_pool, tmp_path)


@pytest.mark.parametrize("depth", [300, 2_000])
def test_deep_html_keeps_its_text(real_pool: ParserPool, tmp_path: Path, depth: int) -> None:
    """Bad input 45."""
    path = tmp_path / "deep.html"
    path.write_text("<html><body>" + "<div>" * depth + "marker in the depth" + "</div>" * depth + "</body></html>")
    assert "marker in the depth" in real_pool.parse(path, HTML).text


@pytest.mark.parametrize("tag", ["div", "b", "p", "table", "li"])
def test_html_nested_200k_deep_ends_fast(real_pool: ParserPool, tmp_path: Path, tag: str) -> None:
    """Bad input 44."""
    path = tmp_path / "deepest.html"
    path.write_text("<html><body>" + f"<{tag}>" * 200_000 + "marker")
    outcome = parse_to_outcome(real_pool, path, HTML)
    # A new `p` or `li` closes the one before it: these are not deep at all.
    assert "marker" in outcome if tag in {"p", "li"} else outcome == "parse_limit"


def test_a_page_that_grows_with_its_square_is_over_a_limit(tmp_path: Path) -> None:
    """Each paragraph opens every unclosed `<b>` before it once more: 38 KB, five million elements."""
    page = "".join(f"<b c={number}><p>" for number in range(3_000)) + "words of a sentence"
    path = tmp_path / "page"
    path.write_text(page, encoding="utf-8")
    with ParserPool(replace(PATIENT, cpu_seconds=20)) as pool:
        for ask in (lambda: pool.parse(path, HTML), lambda: pool.read_links(page.encode(), None, PAGE_URL)):
            with pytest.raises(DocumentFailed) as caught:
                ask()
            assert caught.value.code == "parse_limit"


def test_html_with_two_million_attributes(tmp_path: Path) -> None:
    """Bad input 46: refused for their number, not when its time is used up; over many tags they are nothing special."""
    path = tmp_path / "attributes.html"
    attributes = " ".join(f"a{number}=1" for number in range(2_000_000))
    path.write_text(f"<html><body><p {attributes}>the text that counts</p></body></html>")
    with ParserPool(SHORT) as pool:
        with pytest.raises(DocumentFailed, match="more than 50,000 attributes") as caught:
            pool.parse(path, HTML)
        assert caught.value.code == "parse_limit"
        path.write_text(f"<html><body>{f'<p {attributes[:1_000]}>the text that counts</p>' * 100}</body></html>")
        assert "the text that counts" in parse_to_outcome(pool, path, HTML)
        check_survives(pool, tmp_path)


@pytest.mark.parametrize("character", ["\n", "(", "\u200d", " ", "a", "#", "<", "- ", "字"])
def test_a_million_equal_characters(real_pool: ParserPool, tmp_path: Path, character: str) -> None:
    for media_type, suffix in ((PLAIN, "txt"), ("text/markdown", "md"), (HTML, "html")):
        path = tmp_path / f"same.{suffix}"
        path.write_text(character * 1_000_000)
        outcome = parse_to_outcome(real_pool, path, media_type)
        if suffix == "txt":
            seen = character.strip("\n \u200d")
            assert outcome == (character * 1_000_000 if seen else "no_text")
        assert outcome == "no_text" or character.strip() in outcome


def test_one_line_of_20_million_characters(real_pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_text("a" * 20_000_000)
    assert real_pool.parse(path, PLAIN).text == "a" * 20_000_000


def test_a_megabyte_of_noise_is_no_text(real_pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "noise.txt"
    path.write_bytes(random.Random(1).randbytes(1 << 20))
    assert [parse_to_outcome(real_pool, path, kind) for kind in (PLAIN, "text/markdown")] == ["not_text", "not_text"]


def test_21_million_characters_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("x" * 2_100)
    with ParserPool(ParserLimits(load=LoadLimits(max_characters=2_000))) as pool:
        with pytest.raises(DocumentFailed) as caught:
            pool.parse(path, PLAIN)
        assert caught.value.code == "text_too_large"
        path.write_text("字" * 2_000)
        assert pool.parse(path, PLAIN).text == "字" * 2_000


def write_pdf(folder: Path, content: bytes, extra: bytes = b"") -> Path:
    """A page with `content`; `extra` entries go into the catalog."""
    path = folder / "made.pdf"
    whole = build_pdf(zlib.compress(content))
    path.write_bytes(whole.replace(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Catalog/Pages 2 0 R" + extra + b">>"))
    return path


def add_object(whole: bytes, body: bytes) -> bytes:
    """With an object 6; the reader finds it when it rebuilds the table, which no longer fits."""
    return whole.replace(b"xref\n0 6", body + b"xref\n0 6").replace(b"/Size 6", b"/Size 7")


WORDS = b"BT /F 12 Tf 50 700 Td (Plain words.) Tj ET"


def test_a_pdf_without_pages_has_no_text(real_pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "none.pdf"
    path.write_bytes(build_pdf(zlib.compress(b"BT ET"), pages=0))
    assert parse_to_outcome(real_pool, path, PDF) in {"no_text", "pdf_malformed"}
    path.write_bytes(build_pdf(zlib.compress(b"BT ET")))
    assert parse_to_outcome(real_pool, path, PDF) == "no_text"


@pytest.mark.parametrize(
    "extra",
    [
        b"/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>",
        b"/OpenAction<</S/Launch/F(/bin/sh)>>",
        b"/Names<</EmbeddedFiles<</Names[(secret.txt) <</Type/Filespec/F(secret.txt)/EF<</F 4 0 R>>>>]>>>>",
        b"/Outlines<</First 1 0 R/Last 1 0 R/Count 9>>",
        b"/Outlines 2 0 R",
    ],
    ids=["script", "launch", "embedded file", "outline that is the catalog", "outline that is the page tree"],
)
def test_what_a_pdf_would_run_or_carry_is_ignored(real_pool: ParserPool, tmp_path: Path, extra: bytes) -> None:
    assert real_pool.parse(write_pdf(tmp_path, WORDS, extra), PDF).text == "Plain words."


def test_an_outline_that_goes_round_in_a_circle_ends(real_pool: ParserPool, tmp_path: Path) -> None:
    extra = b"/Outlines<</First 6 0 R/Last 6 0 R/Count 2>>"
    path = write_pdf(tmp_path, WORDS, extra)
    item = b"6 0 obj<</Title(Plain words.)/Parent 1 0 R/Next 6 0 R/First 6 0 R/Dest[3 0 R/Fit]>>endobj\n"
    path.write_bytes(add_object(path.read_bytes(), item))
    document = real_pool.parse(path, PDF)
    assert document.text == "Plain words."
    assert len(document.headings) <= 1


def test_a_cross_reference_that_names_itself_ends(real_pool: ParserPool, tmp_path: Path) -> None:
    path = write_pdf(tmp_path, WORDS)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"/Root 1 0 R>>", b"/Root 1 0 R/Prev %d>>" % whole.index(b"xref\n0 6")))
    assert parse_to_outcome(real_pool, path, PDF) in {"Plain words.", "pdf_malformed"}


def write_unicode_pdf(folder: Path, mapped: list[str]) -> Path:
    """A page whose letters A, B, … stand for `mapped` (UTF-16 in hexadecimal), as its font's ToUnicode says."""
    pairs = "".join(f"<{65 + number:02x}> <{code}>\n" for number, code in enumerate(mapped))
    cmap = (
        "/CIDInit /ProcSet findresource begin\nbegincmap\n/CMapType 2 def\n1 begincodespacerange\n<00> <ff>\n"
        f"endcodespacerange\n {len(mapped)} beginbfchar\n{pairs}endbfchar\nendcmap\nend\nend"
    ).encode()
    letters = bytes(65 + number for number in range(len(mapped)))
    path = write_pdf(folder, b"BT /F 12 Tf 50 700 Td (%s) Tj ET" % letters)
    writer = PdfWriter(clone_from=PdfReader(path))
    stream = DecodedStreamObject()
    stream.set_data(cmap)
    font: Any = writer.pages[0]["/Resources"]["/Font"]["/F"]  # type: ignore[index]
    font[NameObject("/ToUnicode")] = writer._add_object(stream)
    writer.write(path)
    return path


def test_odd_characters_of_a_pdf_leave_clean_text(real_pool: ParserPool, tmp_path: Path) -> None:
    words = [f"{ord(letter):04x}" for letter in "words of a line"]
    odd = ["0000", "d800", "e001", "05d0", "fb01", "2f08"]  # NUL, half a pair, private use, Hebrew, fi, Kangxi
    text = real_pool.parse(write_unicode_pdf(tmp_path, [*words, *odd]), PDF).text
    text.encode()
    assert "\x00" not in text
    assert text.startswith("words of a line")
    assert "fi" in text
    assert "人" in text


def test_a_page_of_private_characters_is_garbled(real_pool: ParserPool, tmp_path: Path) -> None:
    path = write_unicode_pdf(tmp_path, [f"e0{number:02x}" for number in range(30)])
    with pytest.raises(DocumentFailed) as caught:
        real_pool.parse(path, PDF)
    assert (caught.value.code, "cannot be read" in caught.value.detail) == ("no_text", True)
