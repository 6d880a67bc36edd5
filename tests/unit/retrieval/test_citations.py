from __future__ import annotations

from collections.abc import Sequence
from time import process_time

import pytest
from fakes.passages import make_passage
from hypothesis import given
from hypothesis import strategies as st

from kb.types import Page, PageVerdict
from retrieval.citations import place_on_pages, resolve_citations, strip_markers
from retrieval.sentences import cut_sentences

CAMERA = make_passage("The camera was bought in 2019. It cost 4,200 euro. The dewar stays cold for 31 hours.", start=50)
COATING = make_passage(
    "镜面镀膜每五年更换一次。负责人是王小明。", start=9, document_id="d2", version=4, page_start=2, page_end=3
)
DOME = make_passage("The dome closes in fog.", document_id="d3")
ALL = [CAMERA, COATING, DOME]


@pytest.mark.parametrize(
    ("answer", "text", "documents", "dropped"),
    [
        ("It cost 4,200 euro [1].", "It cost 4,200 euro [1].", ["d1"], 0),
        ("Fog [3]. Price [1]. Fog [3].", "Fog [1]. Price [2]. Fog [1].", ["d3", "d1"], 0),
        ("每五年一次【2】，雾天关闭［3］。", "每五年一次[1]，雾天关闭[2]。", ["d2", "d3"], 0),
        ("Both [3, 1].", "Both [1][2].", ["d3", "d1"], 0),
        ("两者[3、1]。", "两者[1][2]。", ["d3", "d1"], 0),
        ("Both [1][2].", "Both [1][2].", ["d1", "d2"], 0),
        ("Twice [1, 1].", "Twice [1].", ["d1"], 0),
        ("All [1-3]. 两个【2–3】。", "All [1][2][3]. 两个[2][3]。", ["d1", "d2", "d3"], 0),
        ("Some [2, 3 - 5].", "Some [1][2].", ["d2", "d3"], 2),
        ("Backwards [3-1].", "Backwards [1][2].", ["d3", "d1"], 0),
        ("A note [^2].", "A note [1].", ["d2"], 0),
        ("Digits [0-9]+, years [2019-2021].", "Digits [0-9]+, years [2019-2021].", [], 0),
        ("Wrong [99].", "Wrong.", [], 1),
        ("Zero [0] and some [1, 7].", "Zero and some [1].", ["d1"], 2),
        ("In [2024] `row[1]` and\n```\na[2]\n```\nnothing.", "In [2024] `row[1]` and\n```\na[2]\n```\nnothing.", [], 0),
        ("No marker at all.", "No marker at all.", [], 0),
        ("", "", [], 0),
        ("[1]", "[1]", ["d1"], 0),
        ("braces {0} {{7*7}} %s $x [1]", "braces {0} {{7*7}} %s $x [1]", ["d1"], 0),
    ],
)
def test_markers_are_checked_and_renumbered(answer: str, text: str, documents: list[str], dropped: int) -> None:
    cited = resolve_citations(answer, ALL)
    assert cited.text == text
    assert [citation.document_id for citation in cited.citations] == documents
    assert [citation.number for citation in cited.citations] == list(range(1, len(documents) + 1))
    assert cited.dropped == dropped


@pytest.mark.parametrize(
    ("answer", "quote"),
    [
        ("The price was 4,200 euro [1].", "It cost 4,200 euro."),
        ("The price was 4,200 euro. [1] The dome is closed.", "It cost 4,200 euro."),
        ("It is white. It stays cold for 31 hours[1]。", "The dewar stays cold for 31 hours."),
        ("Bought in 2019 [1]. It cost 4,200 euro [1].", "The camera was bought in 2019. It cost 4,200 euro."),
        ("[1] It cost 4,200 euro.", "It cost 4,200 euro."),
    ],
)
def test_the_quote_is_what_supports_the_sentence_that_cites(answer: str, quote: str) -> None:
    (citation,) = resolve_citations(answer, ALL).citations
    assert citation.quote == quote
    assert CAMERA.text[citation.start - 50 : citation.end - 50] == quote


def test_an_answer_in_another_language_is_quoted_by_the_question() -> None:
    (citation,) = resolve_citations("It is Wang Xiaoming [2].", ALL, "负责人是谁？").citations
    assert citation.quote == "负责人是王小明。"
    assert (citation.start, citation.end, citation.version, citation.page_start, citation.page_end) == (21, 29, 4, 2, 3)


def test_a_title_alone_does_not_choose_the_sentence() -> None:
    passage = make_passage("The lens is glass. 负责人是王小明。", title="Heron")
    (citation,) = resolve_citations("Heron [1].", [passage], "负责人是谁？").citations
    assert citation.quote == "负责人是王小明。"


def test_claims_far_apart_are_not_stretched_into_one_quote() -> None:
    passage = make_passage("The crank is red. " + "Nothing happens here. " * 40 + "The dome is white.")
    (citation,) = resolve_citations("The crank is red [1]. The dome is white [1].", [passage]).citations
    assert citation.quote == "The crank is red."


def test_a_passage_of_white_space_can_be_cited() -> None:
    (citation,) = resolve_citations("Blank [1].", [make_passage(" \n ")]).citations
    assert (citation.start, citation.end, citation.quote) == (0, 3, " \n ")


def test_strip_markers() -> None:
    assert strip_markers("Fog [3], and 雨【12】。 In 2024 [2024].") == "Fog, and 雨。 In 2024 [2024]."


@given(st.text(alphabet="[]【】［］0123456789,、-–^。. a雾`\n", max_size=60))
def test_whatever_a_model_writes_every_number_has_its_citation(answer: str) -> None:
    cited = resolve_citations(answer, ALL)
    assert [citation.number for citation in cited.citations] == list(range(1, len(cited.citations) + 1))
    by_id = {passage.document_id: passage for passage in ALL}
    for citation in cited.citations:
        passage = by_id[citation.document_id]
        assert passage.text[citation.start - passage.start : citation.end - passage.start] == citation.quote
        assert citation.quote


class Pages:
    """A PageSource: every version has pages of 20 characters, but version 99 was purged."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def list_pages(self, version_ids: Sequence[int]) -> dict[int, list[Page]]:
        self.asked += version_ids
        pages = [Page(number=n + 1, start=20 * n, end=20 * n + 19, verdict=PageVerdict.INDEXED) for n in range(9)]
        return {version_id: pages for version_id in version_ids if version_id != 99}


def test_a_citation_names_the_pages_of_its_quote_not_of_its_passage() -> None:
    text = "One on page two....\nTwo is on page three and four, too. Five"
    first = make_passage(text, start=20, page_start=2, page_end=4, version_id=7)
    cited = resolve_citations("Two is on page three and four, too [1]. One on page two [2].", [first, first]).citations
    assert [(c.start, c.end) for c in place_on_pages(cited, Pages())] == [(40, 75), (20, 39)]
    assert [(c.page_start, c.page_end) for c in place_on_pages(cited, Pages())] == [(3, 4), (2, 2)]


def test_pages_are_asked_for_only_where_a_passage_has_several() -> None:
    purged = make_passage("Gone by now.", start=30, page_start=2, page_end=3, version_id=99)
    pages = Pages()
    cited = resolve_citations("Gone by now [1]. It cost 4,200 euro [2].", [purged, CAMERA]).citations
    assert place_on_pages(cited, pages) == cited
    assert pages.asked == [99]


@pytest.mark.parametrize(
    "filler", [" ", "\t", "\n", " \n", "\u3000", "[", "[1", "[1-", "`", "1,", "1-", "。 ", "`a`[1]"]
)
def test_long_runs_of_anything_cost_no_more_than_their_length(filler: str) -> None:
    """A model or a caller may write them, and a regular expression holds up the whole process while it runs."""
    text = filler * (300_000 // len(filler))
    before = process_time()
    strip_markers(text + "x")
    assert cut_sentences(text + "x")
    assert process_time() - before < 10  # some tenths; the square of the length would take minutes


@pytest.mark.parametrize("repeated", ["的塔[1]", "fog a[1] ", "雾[1]。", "a[1][2], b "])
def test_a_model_that_cites_in_a_loop_costs_no_more_than_its_length(repeated: str) -> None:
    answer = repeated * (40_000 // len(repeated))
    before = process_time()
    assert resolve_citations(answer, ALL).citations
    assert process_time() - before < 10  # a second at most; with the whole sentence held up for each marker, a minute
