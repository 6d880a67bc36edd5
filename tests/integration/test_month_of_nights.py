"""A month of nights over one folder: counts right each night, text embedded again only where it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.nights import NAME, Nights, count
from fakes.store import Store, new_store, write_sentences

from kb.types import JobState

SUNZI = "孙子曰：兵者，国之大事，死生之地，存亡之道，不可不察也。故经之以五事，校之以计，而索其情。"
MANUAL = write_sentences(*range(100, 112))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def nights(store: Store, tmp_path: Path) -> Nights:
    return Nights(store=store, folder=tmp_path / "shared" / "团队")


@dataclass(frozen=True, kw_only=True)
class Night:
    """What happens to the folder by day, and what the sync of the night must say. `embeds`: how many strings, None for
    "some, and not counted here"."""

    edit: Callable[[Nights], object]
    says: dict[str, int]
    embeds: int | None = 0
    state: JobState = JobState.SUCCEEDED
    code: str | None = None
    wishes: dict[str, object] = field(default_factory=dict)


def write_first(nights: Nights) -> None:
    nights.write({f"notes/{n}.txt": write_sentences(n) for n in range(8)})
    nights.write({"孙子/计篇.md": SUNZI, "manual.txt": MANUAL})


def insert_sentence(nights: Nights) -> None:
    nights.write({"manual.txt": "One short sentence stands in front of all the others today. " + MANUAL})


def swap(nights: Nights) -> None:
    one, two = ((nights.folder / f"notes/{n}.txt").read_text("utf-8") for n in (2, 3))
    nights.write({"notes/2.txt": two, "notes/3.txt": one})


def empty(nights: Nights) -> None:
    nights.folder.rename(nights.folder.with_name("aside"))
    nights.folder.mkdir()


def unmount(nights: Nights) -> None:
    nights.folder.rmdir()


def mount(nights: Nights) -> None:
    nights.folder.with_name("aside").rename(nights.folder)


def nothing(_: Nights) -> None:
    pass


MONTH = [
    Night(edit=write_first, says={"added": 10}, embeds=None),
    Night(edit=nothing, says={"unchanged": 10}),
    Night(edit=lambda n: n.write({"notes/1.txt": write_sentences(21)}), says={"changed": 1, "unchanged": 9}, embeds=1),
    Night(edit=lambda n: n.touch("notes/2.txt"), says={"touched": 1, "unchanged": 9}),
    Night(edit=nothing, says={"unchanged": 10}),
    Night(edit=lambda n: n.move("notes/3.txt", "archive/三.txt"), says={"moved": 1, "unchanged": 9}),
    Night(edit=lambda n: n.remove("notes/4.txt"), says={"removed": 1, "unchanged": 9}),  # 7
    Night(edit=lambda n: n.write({"new.txt": write_sentences(40)}), says={"added": 1, "unchanged": 9}, embeds=1),
    Night(edit=lambda n: n.write({"copy.txt": write_sentences(40)}), says={"added": 1, "unchanged": 10}),
    Night(edit=lambda n: n.write({"notes/5.txt": "BAD parse_limit"}), says={"failed": 1, "unchanged": 10}),  # 10
    Night(edit=nothing, says={"failed": 1, "unchanged": 10}),  # tried again
    Night(edit=nothing, says={"failed": 1, "unchanged": 10}),  # left alone
    Night(edit=lambda n: n.write({"notes/5.txt": write_sentences(5)}), says={"touched": 1, "unchanged": 10}),
    Night(edit=insert_sentence, says={"changed": 1, "unchanged": 10}, embeds=1),
    Night(edit=lambda n: n.write({"manual.txt": MANUAL}), says={"changed": 1, "unchanged": 10}),  # 15: known of old
    Night(edit=empty, says={"removed": 11}, state=JobState.FAILED, code="vanish_refused"),
    Night(edit=unmount, says={}, state=JobState.FAILED, code="root_missing"),
    Night(edit=mount, says={"unchanged": 11}),
    Night(edit=lambda n: n.write({".kbignore": "*.md\n"}), says={"removed": 1, "unchanged": 10}),
    Night(edit=lambda n: n.remove(".kbignore"), says={"added": 1, "unchanged": 10}),  # 20
    Night(edit=lambda n: n.move("archive/三.txt", "notes/3.txt"), says={"moved": 1, "unchanged": 10}),
    Night(edit=swap, says={"changed": 2, "unchanged": 9}),
    Night(edit=lambda n: n.remove("notes"), says={"removed": 7, "unchanged": 4}, state=JobState.FAILED,
          code="vanish_refused"),
    Night(edit=nothing, says={"removed": 7, "unchanged": 4}, wishes={"force": True}),
    Night(edit=lambda n: n.write({f"notes/{i}.txt": write_sentences(i) for i in range(8)}),  # 25
          says={"added": 8, "unchanged": 4}),
    Night(edit=lambda n: n.write({"logo.png": "\x89PNG\r\n\x1a\n"}), says={"skipped": 1, "unchanged": 12}),
    Night(edit=lambda n: n.write({"empty.txt": ""}), says={"skipped": 2, "unchanged": 12}),
    Night(edit=lambda n: n.remove("logo.png", "empty.txt"), says={"unchanged": 12}),
    Night(edit=lambda n: n.move("notes", "笔记"), says={"moved": 8, "unchanged": 4}),
    Night(edit=nothing, says={"unchanged": 12}),  # 30
]  # fmt: skip


def squash(texts: dict[str, str]) -> dict[str, str]:
    """Chunks leave out the white space between them."""
    return {path: "".join(text.split()) for path, text in texts.items()}


def test_a_month(nights: Nights, store: Store) -> None:
    expected: dict[str, str] = {}
    for number, night in enumerate(MONTH, start=1):
        night.edit(nights)
        job = nights.run(**night.wishes)
        embedded = nights.embedded()
        assert (number, job.state, job.error_code) == (number, night.state, night.code)
        assert (number, count(job)) == (number, night.says)
        if night.embeds is not None:
            assert (number, len(embedded)) == (number, night.embeds)
        if night.state is JobState.SUCCEEDED:
            expected = {path: text for path, text in nights.read().items() if text.isprintable() and text}
            expected |= {f"{NAME}/notes/5.txt": write_sentences(5)} if number in (10, 11, 12) else {}
        if number == 19:
            del expected[f"{NAME}/孙子/计篇.md"]
        assert (number, squash(nights.visible())) == (number, squash(expected))
        assert store.check() == set()
    heads = store.query("SELECT count(*) AS n FROM revision WHERE kind = 'sync'")[0]["n"]
    published = [n for n in MONTH if n.state is JobState.SUCCEEDED and n.says.keys() & CHANGES]
    assert heads == len(published)


CHANGES = {"added", "changed", "moved", "removed"}


def test_what_cannot_be_read_is_one_failed_version_and_not_one_a_night(nights: Nights, store: Store) -> None:
    nights.write({"good.txt": write_sentences(1), "bad.txt": "BAD parse_limit"})
    seen = []
    for _ in range(12):
        nights.run()
        seen.append(len(store.parser.parsed))
        store.parser.parsed.clear()
    # tried on the first night, then after 1, 2, 4 and every 8 nights
    assert seen == [2, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
    versions = store.query("SELECT state, number FROM version v JOIN document d ON d.id = v.document_id "
                           "WHERE d.path LIKE '%bad.txt'")  # fmt: skip
    assert [(row["state"], row["number"]) for row in versions] == [("failed", 1)]


def test_a_user_s_delete_is_not_undone_by_the_next_night(nights: Nights, store: Store) -> None:
    nights.write({"kept.txt": write_sentences(1), "deleted.txt": write_sentences(2)})
    nights.run()
    store.catalog.documents.delete(store.kb.id, path_prefix=f"{NAME}/deleted.txt")
    assert count(nights.run())["unchanged"] == 2
    nights.write({"deleted.txt": write_sentences(3)})
    nights.run()
    assert nights.visible() == {f"{NAME}/kept.txt": write_sentences(1)}
    nights.run(include_deleted=True)
    assert nights.visible() == nights.read()
