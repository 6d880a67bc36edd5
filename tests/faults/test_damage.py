"""Sealed generations lost, zeroed, torn or taken from elsewhere: the server says so and answers as before.

Every knowledge base of the store is damaged in another way, so that one restart shows them all.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from fakes.http_client import Client, wait_until
from fakes.server import Server, list_findings
from fakes.small_files import make_files, to_upload

pytestmark = pytest.mark.faults

FILES = make_files(8)
SET_ASIDE = "index.generation_set_aside"


def zero_middle(path: Path) -> None:
    data = path.read_bytes()
    start, end = len(data) // 3, 2 * len(data) // 3 + 1
    path.write_bytes(data[:start] + bytes(b ^ 0xFF if b == 0 else 0 for b in data[start:end]) + data[end:])


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def make_damages(kinds: Iterable[str]) -> dict[str, Callable[[Path, Path], None]]:
    """name → what is done to a knowledge base's generation (first argument); the second is one of another one."""
    damages: dict[str, Callable[[Path, Path], None]] = {
        "truncated": lambda folder, _: cut_in_half(find_kinds(folder)["N.manifest.json"]),
        "foreign": swap_generation,
        "deleted": lambda folder, _: shutil.rmtree(folder.parent),
    }
    for kind in kinds:
        name = f"zeroed {kind.replace('/', ' ')}"
        damages[name] = lambda folder, _, kind=kind: zero_middle(find_kinds(folder)[kind])  # type: ignore[misc]
    return damages


def swap_generation(folder: Path, other: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


def find_kinds(folder: Path) -> dict[str, Path]:
    """The sealed files that hold bytes, by name without revision and without the segment's id."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {
        re.sub(r"[0-9a-f]{32}", "segment", re.sub(r"^\d+", "N", path.relative_to(folder).as_posix())): path
        for path in files
        if path.stat().st_size
    }


def make_knowledge_bases(server: Server, names: Iterable[str]) -> dict[str, Path]:
    """Knowledge bases with one sealed generation each; their folders."""
    folders = {}
    for name in names:
        client = server.open_client(name)
        folders[name] = server.data_dir / "indexes" / client.create()["id"]
        client.upload(to_upload(FILES))
    return {name: wait_for_generation(folder) for name, folder in folders.items()}


def wait_for_generation(kb_folder: Path) -> Path:
    """The folder of the live space, once a generation is sealed there."""
    return wait_until(lambda: next(kb_folder.glob("*/*.manifest.json"), None), f"{kb_folder} has one").parent


def read_answers(client: Client) -> dict[tuple[str, str], Any]:
    """What searches find, by query and mode."""
    answers: dict[tuple[str, str], Any] = {}
    for question in (FILES[0].word, "望远镜工作正常"):
        for mode in ("hybrid", "dense", "lexical"):
            passages = client.search(question, mode=mode, top_k=5)
            found = [(p["document"]["path"], p["text"], p["start"], round(p["score"], 4)) for p in passages]
            answers[question, mode] = found
    return answers


def test_damaged_generations_are_set_aside_and_answers_stay(tmp_path: Path) -> None:
    with Server(tmp_path / "store", seal_changes=1) as server:
        sound = make_knowledge_bases(server, ["sound"])["sound"]
        damages = make_damages(find_kinds(sound))
        folders = make_knowledge_bases(server, damages)
        server.open_client("sound").wait_until_idle()
        server.kill()
        server.start()  # answers from the sealed generations, as after the damage
        before = {name: read_answers(server.open_client(name)) for name in ("sound", *damages)}
        assert all(found for found in before["sound"].values())
        assert SET_ASIDE not in server.read_log()
        server.kill()

        for name, damage in damages.items():
            damage(folders[name], sound)
        found = list_findings(server.data_dir)
        assert [finding["code"] for finding in found] == ["index_damaged"] * (len(damages) - 1), (
            found
        )  # all but deleted

        server.start()
        assert {name: read_answers(server.open_client(name)) for name in before} == before
        said = re.findall(
            rf"WARNING retrieval.generations {SET_ASIDE} kb_id=(\w+) revision=\d+ reason=\S+", server.read_log()
        )
        assert sorted(said) == sorted(folders[name].parent.name for name in damages if name != "deleted")
        assert list_findings(server.data_dir) == []
        assert not list(sound.glob("*.corrupt"))  # the sound one is left alone
