"""`make bench`: measures the embedded profile from outside and prints tables with the targets beside the figures.

start, memory → imports → push a thousand documents → grow to 10,000 chunks → change one document → search
→ start again with all that → list a folder in which nothing changed → nights of a folder; with --quality the
retrieval quality, with --install the size of an installation
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from changing import measure_changes
from figures import print_group
from installing import measure_install
from machine import describe_load, describe_machine
from nights import measure_nights
from pushing import CHARACTERS, DOCUMENTS, measure_push, write_folder
from quality import measure_quality
from searching import QUESTIONS, measure_http, measure_in_process
from server import Client, Server
from starting import list_memory, measure_idle_memory, measure_imports, measure_starts, measure_starts_with
from swapping import measure_swap
from syncing import measure_listing
from texts import Texts

CHUNKS = 10_000
KB = "bench"
PARTS = ("starts", "store", "folder", "nights", "quality", "install")
SETTLE_SECONDS = 3.0  # for the sealed generation to be taken over


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="measure a fresh installation too (minutes)")
    parser.add_argument("--quality", action="store_true", help="measure retrieval quality too (minutes)")
    parser.add_argument("--only", choices=PARTS, help="measure this alone")
    options = parser.parse_args()
    print(f"{describe_machine()}\n{describe_load()} before")
    parts = {
        "starts": measure_starting,
        "store": measure_store,
        "folder": show_folder,
        "nights": show_nights,
        "quality": show_quality,
        "install": show_install,
    }
    asked = {"quality": options.quality, "install": options.install}
    for name, measure in parts.items():
        if name == options.only or (options.only is None and asked.get(name, True)):
            measure()
            print(f"\n{describe_load()} after", flush=True)


def measure_starting() -> None:
    print_group("Start", measure_starts())
    print_group("Memory", measure_idle_memory())
    print_group("Imports", measure_imports())


def measure_store() -> None:
    texts = Texts()
    documents = [texts.make_document(CHARACTERS) for _ in range(DOCUMENTS)]
    with TemporaryDirectory() as name:
        data_dir, folder = Path(name) / "store", Path(name) / "folders"
        folder.mkdir()
        with Server(data_dir) as server:
            write_folder(folder / "first", documents)
            print_group(f"Upload ({texts.origin})", measure_push(server, KB, folder / "first"))
            documents += grow(server, texts, folder / "more")
            questions = texts.make_questions(documents, QUESTIONS)
            time.sleep(SETTLE_SECONDS)
            chunks = count_chunks(server)
            print_group(f"Search, {chunks:,} chunks, over HTTP", measure_http(server.port, KB, questions))
            print_group(f"One document among {chunks:,} chunks", measure_changes(server.port, KB))
            print_group("Memory", list_memory(server, f"after {chunks:,} chunks were indexed and searched"))
        print_group(f"Search, {chunks:,} chunks, in process", measure_in_process(data_dir, KB, questions))
        print_group("Start", measure_starts_with(data_dir, KB, questions[0]))
        print_group("Re-index beside searches", measure_swap(data_dir, KB, questions))


def grow(server: Server, texts: Texts, folder: Path) -> list[str]:
    """Push more until the knowledge base holds CHUNKS."""
    chunks = count_chunks(server)
    missing = max(0, -(-(CHUNKS - chunks) * DOCUMENTS // chunks)) + 50
    documents = [texts.make_document(CHARACTERS) for _ in range(missing)]
    write_folder(folder, documents)
    server.run_command("push", str(folder), "--kb", KB, "--prefix", "more")
    return documents


def count_chunks(server: Server) -> int:
    with Client(server.port) as client:
        return int(client.call("GET", f"/api/v1/knowledge-bases/{KB}")["chunks"])


def show_folder() -> None:
    print_group("A folder in which nothing changed", measure_listing())


def show_nights() -> None:
    print_group("Nights of a folder", measure_nights())


def show_quality() -> None:
    found = measure_quality()
    if isinstance(found, str):
        print(f"\n### Quality\n\n{found}")
    else:
        print_group("Quality over HTTP, `builtin` encoder, no chat model", found)


def show_install() -> None:
    print_group("Installation", measure_install())


if __name__ == "__main__":
    main()
