"""Files by their hash: durable before named, immutable, gone when removed; and the memory of decoded texts."""

import hashlib
import os
from pathlib import Path

import pytest

from kb.blobs import BlobStore, LastText, TextStore, raise_for_disk
from kb.errors import Gone, InvalidInput, Unavailable


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def names(blobs: BlobStore) -> set[str]:
    return {name for name, _ in blobs.iter_names()}


def test_bytes_are_found_under_their_hash(blobs: BlobStore) -> None:
    with blobs.open_writer() as writer:
        for part in (b"one ", b"", b"two"):
            writer.write(part)
        sha = writer.commit()
    assert sha == hashlib.sha256(b"one two").hexdigest()
    assert (writer.size, writer.head) == (7, b"one two")
    assert blobs.path(sha) == blobs.root / sha[:2] / sha
    with blobs.open(sha) as file:
        assert file.read() == b"one two"
    assert names(blobs) == {sha}
    assert list(blobs.iter_temporary()) == []


def test_the_head_is_the_first_8_kib(blobs: BlobStore) -> None:
    with blobs.open_writer() as writer:
        for _ in range(5):
            writer.write(b"0123456789" * 300)
        writer.commit()
    assert (len(writer.head), writer.size) == (8192, 15_000)


def test_equal_bytes_are_kept_once(blobs: BlobStore) -> None:
    assert blobs.put(b"same") == blobs.put(b"same")
    with blobs.open_writer() as writer:
        writer.write(b"same")
        writer.commit()
    assert len(names(blobs)) == 1


def test_what_is_not_committed_leaves_nothing(blobs: BlobStore) -> None:
    def fail() -> None:
        with blobs.open_writer() as writer:
            writer.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (names(blobs), list(blobs.iter_temporary())) == (set(), [])


def test_a_sealed_file_has_no_name_until_it_is_adopted(blobs: BlobStore) -> None:
    with blobs.open_writer() as first, blobs.open_writer() as second:
        first.write(b"one")
        second.write(b"two")
        sealed = {writer.seal(): writer.temporary for writer in (first, second)}
        assert names(blobs) == set()
        blobs.adopt(sealed)
    assert names(blobs) == set(sealed)
    assert list(blobs.iter_temporary()) == []


def test_a_file_past_the_limit_is_refused_at_once(blobs: BlobStore) -> None:
    with blobs.open_writer(limit=5) as writer:
        writer.write(b"12345")
        with pytest.raises(InvalidInput) as refused:
            writer.write(b"6")
    assert refused.value.code == "too_large"
    assert (names(blobs), list(blobs.iter_temporary())) == (set(), [])


def test_a_committed_file_takes_no_more(blobs: BlobStore) -> None:
    with blobs.open_writer() as writer:
        writer.write(b"one")
        writer.commit()
        with pytest.raises(ValueError, match="committed"):
            writer.write(b"two")
        with pytest.raises(ValueError, match="committed"):
            writer.commit()


def test_removed_bytes_are_gone(blobs: BlobStore) -> None:
    sha = blobs.put(b"one")
    blobs.remove(sha)
    blobs.remove(sha)
    assert not blobs.exists(sha)
    with pytest.raises(Gone) as refused:
        blobs.open(sha)
    assert refused.value.code == "content_gone"


def test_files_have_their_age(blobs: BlobStore) -> None:
    sha = blobs.put(b"one")
    (blobs.root / "tmp" / "left").touch()
    for path in (blobs.path(sha), blobs.root / "tmp" / "left"):
        os.utime(path, (1_000_000, 1_000_000))
    assert [age > 1e9 for _, age in blobs.iter_names()] == [True]
    assert [(path.name, age > 1e9) for path, age in blobs.iter_temporary()] == [("left", True)]


def test_files_that_vanish_while_they_are_listed_are_left_out(blobs: BlobStore) -> None:
    for number in range(50):
        (blobs.root / "tmp" / str(number)).touch()
    (blobs.root / "aa").mkdir()
    for number in range(50):
        (blobs.root / "aa" / str(number)).touch()
    for listed in (blobs.iter_temporary(), blobs.iter_names()):
        seen = [next(listed)[0]]
        for folder in ("tmp", "aa"):
            for path in (blobs.root / folder).iterdir():
                path.unlink()
        assert len(seen + [name for name, _ in listed]) == 1
        for number in range(50):
            (blobs.root / "aa" / str(number)).touch()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this machine")
def test_a_full_disk_is_said_so_and_leaves_nothing(blobs: BlobStore) -> None:
    def write(size: int) -> None:
        with blobs.open_writer() as writer:
            assert writer._file is not None
            writer._file.close()
            writer._file = Path("/dev/full").open("wb")  # noqa: SIM115 - the writer closes it
            writer.write(b"x" * size)
            writer.commit()

    for size in (10, 1_000_000):  # seen when the buffer is flushed at the end, and while writing
        with pytest.raises(Unavailable) as refused:
            write(size)
        assert refused.value.code == "disk_full"
    assert (names(blobs), list(blobs.iter_temporary())) == (set(), [])


def test_other_errors_of_the_disk_pass() -> None:
    raise_for_disk(OSError(2, "no such file"))
    with pytest.raises(Unavailable):
        raise_for_disk(OSError(30, "read-only"))


def test_texts_come_back_as_they_were(tmp_path: Path) -> None:
    texts = TextStore(tmp_path / "texts")
    written = "第一句。\nSecond 😀 line.\n"
    sha = texts.put_text(written)
    assert sha == hashlib.sha256(written.encode()).hexdigest()
    assert texts.read_text(sha) == written
    with pytest.raises(Gone) as refused:
        texts.read_text("ab" * 32)
    assert refused.value.code == "text_gone"


def test_a_text_is_remembered_until_it_is_forgotten(tmp_path: Path) -> None:
    texts = TextStore(tmp_path / "texts")
    sha = texts.put_text("one")
    assert texts.read_text(sha) == "one"
    texts.blobs.remove(sha)
    assert texts.read_text(sha) == "one"
    texts.forget(sha)
    texts.forget(sha)
    with pytest.raises(Gone):
        texts.read_text(sha)


def test_only_the_last_few_texts_are_remembered(tmp_path: Path) -> None:
    texts = TextStore(tmp_path / "texts", cache_characters=10)
    one, two, three, long = (texts.put_text(text) for text in ("1111", "2222", "3333", "4" * 11))
    for sha in (one, two, one, three, long):  # two is the one used longest ago when three comes
        texts.read_text(sha)
    for sha in (one, two, three, long):
        texts.blobs.remove(sha)
    assert (texts.read_text(one), texts.read_text(three)) == ("1111", "3333")
    for sha in (two, long):
        with pytest.raises(Gone):
            texts.read_text(sha)


def test_the_last_text_is_held_however_long_it_is(tmp_path: Path) -> None:
    texts = TextStore(tmp_path / "texts", cache_characters=3)
    long, other = texts.put_text("长文本 long"), texts.put_text("other")
    last = LastText(texts)
    assert last.read_text(long) == "长文本 long"
    texts.blobs.remove(long)
    assert last.read_text(long) == "长文本 long"
    assert last.read_text(other) == "other"
    with pytest.raises(Gone):
        last.read_text(long)
    assert last.read_text(other) == "other"
