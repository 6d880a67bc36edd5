"""What a sync has to do, for made-up folders: no disk; a file's hash is its content's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.compare import Change, Move, Plan, compare
from ingest.sources.folder import ListedFile, Listing, Refused
from kb.errors import DocumentFailed
from kb.types import KnownFile

NOW = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


class Folder:
    """Files by path: content and, if it is not the content's, the stat. Keeps which ones were hashed."""

    def __init__(self, contents: dict[str, str], stats: dict[str, str] | None = None) -> None:
        self.contents = contents
        self.stats = {path: f"stat of {content}" for path, content in contents.items()} | (stats or {})
        self.hashed: list[str] = []
        self.failing: dict[str, str] = {}

    def list_all(self, refused: Sequence[Refused] = ()) -> Listing:
        files = {
            path: ListedFile(path=path, raw=path, size=len(content), mtime_ns=0, stat=self.stats[path])
            for path, content in self.contents.items()
        }
        return Listing(root=Path("/folder"), files=files, refused=refused, sha256="")

    def hash_file(self, file: ListedFile) -> str:
        self.hashed.append(file.path)
        if file.path in self.failing:
            raise DocumentFailed(self.failing[file.path], "not now")
        return f"sha of {self.contents[file.path]}"

    def compare(self, known: Iterable[KnownFile], refused: Sequence[Refused] = ()) -> Plan:
        return compare(self.list_all(refused), {one.path: one for one in known}, self.hash_file, NOW)


def make_live(path: str, content: str, stat: str | None = None) -> KnownFile:
    return KnownFile(
        document_id=f"id of {path}",
        path=path,
        stat=stat or f"stat of {content}",
        live_sha256=f"sha of {content}",
        live_size=len(content),
    )


def make_failed(path: str, bad: str, *, live: str | None = None, retry_at: datetime | None = LATER) -> KnownFile:
    return KnownFile(
        document_id=f"id of {path}",
        path=path,
        stat=f"stat of {bad}",
        live_sha256=live and f"sha of {live}",
        live_size=None if live is None else len(live),
        failed_sha256=f"sha of {bad}",
        retry_at=retry_at,
    )


def list_paths(changes: Sequence[Change | Refused]) -> list[str]:
    return [change.path for change in changes]


def count(plan: Plan) -> dict[str, int]:
    """Of what is not empty."""
    names = ("added", "changed", "moved", "removed", "touched", "failing", "refused")
    sizes = {name: len(getattr(plan, name)) for name in names} | {"unchanged": plan.unchanged}
    return {name: size for name, size in sizes.items() if size}


def test_files_that_nobody_knows_are_added_unread() -> None:
    folder = Folder({"b": "2", "a": "1"})
    plan = folder.compare([])
    assert plan.added == [
        Change(path="a", document_id=None, stat="stat of 1", size=1),
        Change(path="b", document_id=None, stat="stat of 2", size=1),
    ]
    assert (count(plan), folder.hashed) == ({"added": 2}, [])


def test_a_file_with_the_stat_it_had_is_not_read() -> None:
    folder = Folder({"a": "other bytes"}, {"a": "stat of 1"})
    assert count(folder.compare([make_live("a", "1")])) == {"unchanged": 1}
    assert folder.hashed == []


def test_a_new_stat_over_the_same_bytes_is_a_touch() -> None:
    plan = Folder({"a": "1"}, {"a": "new"}).compare([make_live("a", "1")])
    assert count(plan) == {"touched": 1}
    assert plan.touched == [Change(path="a", document_id="id of a", stat="new", size=1, sha256="sha of 1")]


def test_other_bytes_of_the_same_size_are_a_change() -> None:
    plan = Folder({"a": "2"}).compare([make_live("a", "1")])
    assert plan.changed == [Change(path="a", document_id="id of a", stat="stat of 2", size=1, sha256="sha of 2")]


def test_another_size_is_a_change_unread() -> None:
    folder = Folder({"a": "longer"})
    assert count(folder.compare([make_live("a", "1")])) == {"changed": 1}
    assert folder.hashed == []


def test_bytes_that_failed_wait_for_their_time() -> None:
    folder = Folder({"a": "bad"})
    assert count(folder.compare([make_failed("a", "bad", live="1")])) == {"failing": 1}
    assert folder.hashed == []
    assert count(Folder({"a": "bad"}, {"a": "new"}).compare([make_failed("a", "bad")])) == {"failing": 1}


@pytest.mark.parametrize("retry_at", [None, NOW, NOW - timedelta(days=1)])
def test_bytes_that_failed_are_tried_again_when_it_is_time(retry_at: datetime | None) -> None:
    assert count(Folder({"a": "bad"}).compare([make_failed("a", "bad", retry_at=retry_at)])) == {"changed": 1}


def test_other_bytes_than_those_that_failed_do_not_wait() -> None:
    assert count(Folder({"a": "good"}).compare([make_failed("a", "bad")])) == {"changed": 1}


def test_a_file_put_back_as_it_was_is_live_again() -> None:
    known = make_failed("a", "bad", live="1", retry_at=None)
    assert count(Folder({"a": "1"}).compare([known])) == {"touched": 1}
    assert count(Folder({"a": "1"}, {"a": "stat of bad"}).compare([known])) == {"unchanged": 1}


def test_a_document_without_a_version_is_added_to() -> None:
    plan = Folder({"a": "1"}).compare([KnownFile(document_id="hidden", path="a", stat="stat of 1")])
    assert [change.document_id for change in plan.added] == ["hidden"]


def test_what_is_not_there_is_removed_once() -> None:
    hidden = KnownFile(document_id="hidden", path="c")
    plan = Folder({}).compare([make_live("b", "12"), make_failed("a", "bad"), hidden])
    assert plan.removed == [
        Change(path="a", document_id="id of a"),
        Change(path="b", document_id="id of b", size=2, sha256="sha of 12"),
    ]


@pytest.mark.parametrize(
    ("refused", "left"),
    [("x/a", ["x/y/b", "z"]), ("x", ["z"]), ("x/y", ["x/a", "z"]), ("x/.kbignore", ["z"]), (".kbignore", [])],
)
def test_what_could_not_be_looked_at_is_kept(refused: str, left: list[str]) -> None:
    known = [make_live("x/a", "1"), make_live("x/y/b", "2"), make_live("z", "3")]
    plan = Folder({}).compare(known, [Refused(path=refused, code="file_unreadable", detail="")])
    assert list_paths(plan.removed) == left


def test_a_file_at_another_place_has_moved() -> None:
    folder = Folder({"new/a": "1", "b": "22"})
    plan = folder.compare([make_live("old/a", "1")])
    assert plan.moved == [
        Move(
            removed=Change(path="old/a", document_id="id of old/a", size=1, sha256="sha of 1"),
            added=Change(path="new/a", document_id=None, stat="stat of 1", size=1, sha256="sha of 1"),
        )
    ]
    assert count(plan) == {"moved": 1, "added": 1}
    assert folder.hashed == ["new/a"], "only what has the size of a removed one is read"


def test_one_removed_file_moves_to_one_place_and_to_its_own_name_first() -> None:
    plan = Folder({"a": "1", "b": "1", "x/name": "1"}).compare([make_live("name", "1")])
    assert [(move.removed.path, move.added.path) for move in plan.moved] == [("name", "x/name")]
    assert list_paths(plan.added) == ["a", "b"]


def test_a_copy_is_no_move() -> None:
    assert count(Folder({"a": "1", "b": "1"}).compare([make_live("a", "1")])) == {"unchanged": 1, "added": 1}


def test_a_file_that_cannot_be_hashed_is_refused_and_kept() -> None:
    folder = Folder({"a": "2", "new": "1"})
    folder.failing = {"a": "file_changing", "new": "file_gone"}
    plan = folder.compare([make_live("a", "1"), make_live("old", "1")])
    assert [(one.path, one.code) for one in plan.refused] == [("a", "file_changing"), ("new", "file_gone")]
    assert count(plan) == {"refused": 2, "removed": 1}


# -- whatever the folder holds ------------------------------------------------------------------------------------

PATHS = st.sampled_from(["a", "b", "x/a", "x/b", "x/y/a", "z/a"])
CONTENTS = st.sampled_from(["1", "2", "33"])
STATS = st.one_of(st.none(), st.sampled_from(["s", "t"]))
TIMES = st.sampled_from([None, NOW - timedelta(hours=1), LATER])


@st.composite
def draw_known(draw: Callable[..., object]) -> dict[str, KnownFile]:
    known = {}
    for path in draw(st.lists(PATHS, unique=True)):  # type: ignore[attr-defined]
        live, bad = draw(st.one_of(st.none(), CONTENTS)), draw(st.one_of(st.none(), CONTENTS))
        known[path] = KnownFile(
            document_id=f"id of {path}",
            path=path,
            stat=draw(STATS),
            live_sha256=live and f"sha of {live}",
            live_size=live and len(live),
            failed_sha256=bad and f"sha of {bad}",
            retry_at=draw(TIMES),
        )
    return known


@st.composite
def draw_folder(draw: Callable[..., object]) -> Folder:
    folder = Folder(draw(st.dictionaries(PATHS, CONTENTS)))
    folder.stats.update({path: draw(st.sampled_from(["s", "t"])) for path in folder.contents})
    folder.failing = draw(st.dictionaries(PATHS, st.just("file_changing"), max_size=2))
    return folder


REFUSED = st.lists(PATHS | st.just("x"), unique=True, max_size=2).map(
    lambda paths: [Refused(path=path, code="file_unreadable", detail="") for path in paths]
)


@given(draw_folder(), draw_known(), REFUSED)
def test_every_path_stands_in_one_place(folder: Folder, known: dict[str, KnownFile], refused: list[Refused]) -> None:
    refused = [one for one in refused if one.path not in folder.contents]
    plan = folder.compare(known.values(), refused)
    placed = [
        *list_paths([*plan.added, *plan.changed, *plan.touched, *plan.failing]),
        *(move.added.path for move in plan.moved),
        *(path for path in list_paths(plan.refused) if path in folder.contents),
    ]
    assert len(placed) == len(set(placed))
    assert set(placed) <= folder.contents.keys()
    assert plan.unchanged == len(folder.contents) - len(placed)


@given(draw_folder(), draw_known(), REFUSED)
def test_only_what_is_known_and_gone_is_removed(
    folder: Folder, known: dict[str, KnownFile], refused: list[Refused]
) -> None:
    plan = folder.compare(known.values(), refused)
    gone = [*list_paths(plan.removed), *(move.removed.path for move in plan.moved)]
    assert len(gone) == len(set(gone))
    for path in gone:
        assert path not in folder.contents
        assert known[path].live_sha256 or known[path].failed_sha256
        assert not any(path == one.path or path.startswith(f"{one.path}/") for one in refused)


@given(draw_folder(), draw_known())
def test_a_move_keeps_the_bytes(folder: Folder, known: dict[str, KnownFile]) -> None:
    for move in folder.compare(known.values()).moved:
        assert known[move.removed.path].live_sha256 == f"sha of {folder.contents[move.added.path]}"
        assert move.added.document_id == (f"id of {move.added.path}" if move.added.path in known else None)


@given(draw_folder())
def test_what_a_sync_took_over_is_unchanged_the_next_night(folder: Folder) -> None:
    known = [make_live(path, content, folder.stats[path]) for path, content in folder.contents.items()]
    plan = folder.compare(known)
    assert count(plan) == ({"unchanged": len(known)} if known else {})
    assert folder.hashed == []
