"""Damaged, foreign and half-written generations: never used, set aside, said once, and the state is whole anyway."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes.feed import MemoryFeed
from fakes.network import WATCH

from kb.errors import Conflict, Unavailable
from retrieval.generations import list_current, list_revisions, load_generation
from retrieval.sealed import Sizes
from retrieval.sealing import _hold_folder, seal_generation
from retrieval.state import IndexShelf
from retrieval.terms import name_form

pytestmark = pytest.mark.faults


@pytest.fixture
def feed() -> MemoryFeed:
    return make_feed()


def make_feed() -> MemoryFeed:
    feed = MemoryFeed()
    feed.add_kb("kb1")
    feed.publish("kb1", {f"{i}.txt": [f"word number{i} part{j}" for j in range(4)] for i in range(30)})
    return feed


# The 120 rows of the feed as each kind of dense index.
WHOLE, CODES, LISTS = Sizes(), Sizes(exact=10), Sizes(exact=10, flat=20)
KINDS_OF_INDEX = pytest.mark.parametrize("sizes", [WHOLE, CODES, LISTS], ids=["whole", "codes", "lists"])


def seal(feed: MemoryFeed, directory: Path, sizes: Sizes = WHOLE) -> Path:
    seal_generation(feed, "kb1", directory, sizes=sizes)
    return directory / "kb1" / str(feed.get_head("kb1").space_id)


def load(feed: MemoryFeed, directory: Path):  # type: ignore[no-untyped-def]
    return load_generation(directory, "kb1", feed.get_head("kb1"), feed.get_epoch())


def assert_whole(feed: MemoryFeed, directory: Path, sealed: int) -> None:
    """A fresh process finds every row, with the scores of brute force, from the generation `sealed` (-1: the rows)."""
    shelf = IndexShelf(feed, directory)
    state = shelf.get_state("kb1")
    ids = sorted(feed.vectors)
    question = feed.encoder.embed_question("number7 part2")
    scores = np.stack([feed.vectors[i] for i in ids]).astype(np.float32) @ question[0]
    best = state.dense.search(question, len(ids))
    assert {match.chunk_id: pytest.approx(match.score, abs=1e-3) for match in best} == dict(
        zip(ids, scores.tolist(), strict=True)
    )
    assert {match.chunk_id for match in state.lexical.search("word", 1000)} == set(ids)
    assert state.sealed == sealed
    shelf.close()


def flip_bit(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def zero_stretch(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    length = min(4096, len(data) - start)
    data[start : start + length] = bytes(b ^ 0xFF if not b else 0 for b in data[start : start + length])
    path.write_bytes(data)


def truncate(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def append_bytes(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(7))


def remove(path: Path, rng: random.Random) -> None:
    path.unlink()


KINDS = [flip_bit, zero_stretch, truncate, append_bytes, remove]


@KINDS_OF_INDEX
def test_a_generation_holds_every_row_whatever_its_kind(feed: MemoryFeed, tmp_path: Path, sizes: Sizes) -> None:
    folder = seal(feed, tmp_path, sizes)
    assert (folder / "1.vectors").exists() == (sizes is not WHOLE)
    assert not list(folder.rglob("*.tmp"))
    assert_whole(feed, tmp_path, 1)


@KINDS_OF_INDEX
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_damaged_file_is_never_used(
    feed: MemoryFeed,
    tmp_path: Path,
    kind: Callable,  # type: ignore[type-arg]
    sizes: Sizes,
) -> None:
    folder = seal(feed, tmp_path / "good", sizes)
    names = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
    rng = random.Random(kind.__name__)
    for name in names:
        if name.endswith("manifest.json") and kind is not truncate:
            continue
        directory = tmp_path / f"bad-{name.replace('/', '-')}"
        shutil.copytree(tmp_path / "good", directory)
        copy = directory / folder.relative_to(tmp_path / "good")
        if not (copy / name).stat().st_size:
            continue
        kind(copy / name, rng)
        assert load(feed, directory) is None, name
        assert not list_revisions(copy)
        assert (copy / "1.manifest.json.corrupt").exists()


@pytest.mark.parametrize("part", ["1.dense", "1.vectors", "1.ids", "1.lexical/meta.json", "1.manifest.json"])
def test_the_state_is_rebuilt_from_the_rows_and_it_is_said_once(
    feed: MemoryFeed, tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "indexes"
    zero_stretch(seal(feed, directory, CODES) / part, random.Random(1))
    with caplog.at_level(logging.WARNING):
        assert_whole(feed, directory, -1)
        assert_whole(feed, directory, -1)
    assert [record.message for record in caplog.records] == ["index.generation_set_aside"]
    assert "word" not in caplog.records[0].reason
    seal(feed, directory)
    assert_whole(feed, directory, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "another"},
        {"kb": "kb2"},
        {"space": 99},
        {"revision": 2},
        {"dimension": 31},
        {"count": 119},
        {"files": {}},
        {"files": {"../../../etc/passwd": {"size": 1, "sha256": "0"}}},
        {"files": {"1.dense": 3}},
        {"files": []},
        {"surplus": 1},
    ],
    ids=str,
)
def test_a_foreign_manifest_is_set_aside(feed: MemoryFeed, tmp_path: Path, change: dict) -> None:  # type: ignore[type-arg]
    directory = tmp_path / "indexes"
    path = seal(feed, directory) / "1.manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert load(feed, directory) is None
    assert_whole(feed, directory, -1)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"files": {}}'])
def test_a_manifest_that_is_none_is_set_aside(feed: MemoryFeed, tmp_path: Path, content: bytes) -> None:
    directory = tmp_path / "indexes"
    (seal(feed, directory) / "1.manifest.json").write_bytes(content)
    assert load(feed, directory) is None


def test_files_of_another_knowledge_base_are_foreign(feed: MemoryFeed, tmp_path: Path) -> None:
    directory = tmp_path / "indexes"
    feed.add_kb("kb2")
    feed.publish("kb2", {"a.txt": ["other words"]})
    folder = seal(feed, directory)
    seal_generation(feed, "kb2", directory)
    shutil.rmtree(folder)
    shutil.copytree(directory / "kb2" / "2", folder)
    assert load(feed, directory) is None


def test_a_restored_database_takes_no_old_files(feed: MemoryFeed, tmp_path: Path) -> None:
    directory = tmp_path / "indexes"
    seal(feed, directory)
    feed.epoch = "epoch-2"
    assert load(feed, directory) is None
    seal(feed, directory)
    assert_whole(feed, directory, 1)


OTHER_FORMS = [None, "1", "2-00000000", "3-" + name_form().partition("-")[2]]


def rewrite_form(path: Path, form: str | None) -> None:
    """As sealed by another release; None: by one that knew no forms."""
    fields = json.loads(path.read_text())
    assert fields.pop("form") == name_form()
    path.write_text(json.dumps(fields if form is None else fields | {"form": form}))


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_tokens_of_another_form_are_not_read_but_made_again_from_the_rows(
    feed: MemoryFeed, tmp_path: Path, form: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "indexes"
    folder = seal(feed, directory)
    rewrite_form(folder / "1.manifest.json", form)
    feed.row_reads = 0
    with caplog.at_level(logging.INFO):
        assert_whole(feed, directory, -1)
        assert_whole(feed, directory, -1)
    assert feed.row_reads == 2 * len(feed.vectors)
    assert [record.message for record in caplog.records] == ["index.generation_outdated"]
    assert [path.name for path in folder.iterdir()] == [".seal.lock"]  # sound, so that nobody need look at it
    seal(feed, directory)
    assert_whole(feed, directory, 1)


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_a_revision_sealed_with_tokens_of_another_form_is_sealed_again(
    feed: MemoryFeed, tmp_path: Path, form: str | None
) -> None:
    directory = tmp_path / "indexes"
    seal(feed, directory)
    feed.publish("kb1", {"late.txt": ["late word"]})
    folder = seal(feed, directory)
    for revision in (1, 2):
        rewrite_form(folder / f"{revision}.manifest.json", form)
    assert (list_revisions(folder), list_current(folder)) == ([2, 1], [])
    seal(feed, directory)
    assert list_revisions(folder) == list_current(folder) == [2]
    assert_whole(feed, directory, 2)


def test_when_the_newest_has_another_form_the_one_before_serves(feed: MemoryFeed, tmp_path: Path) -> None:
    directory = tmp_path / "indexes"
    seal(feed, directory)
    feed.publish("kb1", {"late.txt": ["late word"]})
    folder = seal(feed, directory)
    rewrite_form(folder / "2.manifest.json", "1")
    assert_whole(feed, directory, 1)


def test_when_the_newest_is_bad_the_one_before_serves(feed: MemoryFeed, tmp_path: Path) -> None:
    directory = tmp_path / "indexes"
    seal(feed, directory)
    feed.publish("kb1", {"late.txt": ["late word"]})
    folder = seal(feed, directory)
    truncate(folder / "2.dense", random.Random(1))
    assert_whole(feed, directory, 1)


def test_two_generations_are_kept_and_a_sealed_revision_is_not_sealed_again(feed: MemoryFeed, tmp_path: Path) -> None:
    directory = tmp_path / "indexes"
    for i in range(4):
        folder = seal(feed, directory)
        feed.publish("kb1", {"late.txt": [f"late word {i}"]})
    assert list_revisions(folder) == [4, 3]
    assert {path.name.split(".")[0] for path in folder.iterdir() if not path.name.startswith(".")} == {"3", "4"}
    seal(feed, directory)
    before = (folder / "5.dense").stat().st_ino
    seal(feed, directory)
    assert (folder / "5.dense").stat().st_ino == before


def test_two_sealers_do_not_write_into_each_other(feed: MemoryFeed, tmp_path: Path) -> None:
    folder = seal(feed, tmp_path / "indexes")
    with _hold_folder(folder), pytest.raises(Conflict, match="seal_running"):
        seal_generation(feed, "kb1", tmp_path / "indexes")


def test_a_file_where_the_folder_should_be_is_not_hidden(feed: MemoryFeed, tmp_path: Path) -> None:
    (tmp_path / "indexes").write_text("in the way")
    with pytest.raises(OSError, match="indexes"):
        seal_generation(feed, "kb1", tmp_path / "indexes")


def run_child(how: str, root: Path) -> subprocess.CompletedProcess[str]:
    tests = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": WATCH.add_to_path(tests.parent, tests)}
    command = [sys.executable, __file__, how, str(root)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_full_disk_is_unavailable_and_leaves_nothing_that_counts(tmp_path: Path) -> None:
    small = run_child("full", tmp_path)
    assert small.stdout.strip() in ("disk_full", "index_unavailable"), small.stderr
    folder = tmp_path / "indexes" / "kb1" / "1"
    assert list_revisions(folder) == []
    feed = make_feed()
    seal(feed, tmp_path / "indexes")
    assert_whole(feed, tmp_path / "indexes", 1)


# Reached once a seal, and once for each of the two dense files.
ONCE = ["snap.half", "man.pre_rename", "man.post_rename"]
TWICE = ["snap.pre_fsync", "snap.pre_rename", "snap.post_rename"]


@pytest.mark.parametrize("point", [*ONCE, *TWICE, *(f"{name}:2" for name in TWICE), "snap.pre_fsync:3"])
def test_a_kill_while_sealing_leaves_a_start_that_is_whole(tmp_path: Path, point: str) -> None:
    directory = tmp_path / "indexes"
    died = run_child(point, tmp_path)
    assert died.returncode == -signal.SIGKILL, died.stderr
    feed = make_feed()
    assert_whole(feed, directory, 1 if point == "man.post_rename" else -1)
    folder = seal(feed, directory, CODES)
    assert_whole(feed, directory, 1)
    assert not list(folder.rglob("*.tmp"))


def seal_and_die(how: str, root: Path) -> None:
    """What the child processes above run: seal with a crash point armed, or on a disk that takes nothing."""
    if how == "full":
        import errno

        import retrieval.sealing as sealing

        def refuse(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        sealing.os.fsync = refuse
    else:
        from kb import crash

        crash.arm(how)
    try:
        seal_generation(make_feed(), "kb1", root / "indexes", sizes=CODES)
    except Unavailable as error:
        print(error.code)


if __name__ == "__main__":
    seal_and_die(sys.argv[1], Path(sys.argv[2]))
