"""Which hits are copies of others, and which of them stands for all."""

from __future__ import annotations

from fakes.hits import make_hit

from retrieval.copies import collapse_copies, list_duplicates
from retrieval.merge import Hit


def list_names(hits: list[Hit]) -> list[tuple[str, float, list[str]]]:
    return [(hit.chunk.document_id, hit.score, [one.document_id for one in hit.copies]) for hit in hits]


def test_texts_of_their_own_stay_as_they_are() -> None:
    hits = [make_hit("a", 0.9), make_hit("b", 0.8), make_hit("a", 0.7, start=100, end=200)]
    assert collapse_copies(hits) == hits
    assert collapse_copies([]) == []


def test_the_best_one_stands_for_all_and_names_the_others() -> None:
    same = {"input_sha": "x"}
    hits = [make_hit("a", 0.9, **same), make_hit("b", 0.8), make_hit("c", 0.7, **same), make_hit("d", 0.6, **same)]
    assert list_names(collapse_copies(hits)) == [("a", 0.9, ["c", "d"]), ("b", 0.8, [])]


def test_a_text_twice_in_one_document_is_no_copy_but_each_has_its_own_in_another() -> None:
    hits = [make_hit(name, score, input_sha="x") for name, score in (("a", 0.9), ("b", 0.8), ("a", 0.7), ("b", 0.6))]
    assert list_names(collapse_copies(hits)) == [("a", 0.9, ["b"]), ("a", 0.7, ["b"])]


def test_a_file_cut_at_other_places_is_a_copy_where_half_is_shared() -> None:
    whole = {"text_sha": "t"}
    first = make_hit("a", 0.9, end=100, **whole)
    half = make_hit("b", 0.8, start=50, end=150, **whole)
    less = make_hit("b", 0.7, start=51, end=151, **whole)
    inside = make_hit("b", 0.6, start=20, end=40, **whole)
    other = make_hit("c", 0.5, start=20, end=40)
    assert list_names(collapse_copies([first, half])) == [("a", 0.9, ["b"])]
    assert list_names(collapse_copies([first, less])) == [("a", 0.9, []), ("b", 0.7, [])]
    assert list_names(collapse_copies([first, inside, other])) == [("a", 0.9, ["b"]), ("c", 0.5, [])]


def test_chunks_of_one_copy_stand_together_so_that_they_can_be_joined() -> None:
    first, second = {"text_sha": "t", "input_sha": "1"}, {"text_sha": "t", "input_sha": "2", "start": 100, "end": 200}
    hits = [make_hit("a", 0.9, **first), make_hit("b", 0.8, **second), make_hit("a", 0.7, **second)]
    assert list_names(collapse_copies(hits)) == [("a", 0.9, []), ("a", 0.8, ["b"])]


def test_collapsing_again_changes_nothing_and_forgets_nothing() -> None:
    hits = collapse_copies([make_hit("a", 0.9, input_sha="x"), make_hit("b", 0.8, input_sha="x")])
    again = collapse_copies([*hits, make_hit("c", 0.7, input_sha="x")])
    assert list_names(again) == [("a", 0.9, ["b", "c"])]


def test_duplicates_are_documents_each_once_without_the_one_shown() -> None:
    chunks = [make_hit(name, 0.5, kb_id=kb).chunk for name, kb in (("b", "k1"), ("a", "k1"), ("c", "k2"), ("b", "k1"))]
    found = list_duplicates(chunks, "a")
    assert [(one.document_id, one.path, one.kb_id) for one in found] == [("b", "b.txt", "k1"), ("c", "c.txt", "k2")]
