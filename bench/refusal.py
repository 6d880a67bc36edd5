"""How well the relevance of what is found tells questions that a corpus answers from those that it does not.

Questions of each set are split in two: one half gives the thresholds, the other is judged by them. Unanswerable are,
each for itself, the near misses of the set (written about its documents, the answer is not there) and questions of
another corpus in the same language. Beside it stands what the server does without a rule: its fixed threshold.

    python bench/refusal.py [--embedding MODEL] [SET …]
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from server import Client, Server
from texts import find_data

from api.cli.calibration import Rate, count_below, find_rate, is_near_chance, list_points, measure_auc

FOREIGN = {"squad_en": "nq_en", "rgb_zh": "cmrc_zh", "rgb_en": "nq_en", "cjrc_mini_zh": "cmrc_zh"}
ONE_DOCUMENT = {"cjrc_mini_zh"}  # its questions mean nothing outside their document
KINDS = {"near": "near misses", "foreign": "questions of another corpus"}
MOST = 400  # questions of a kind
AT_ONCE = 200  # documents of an upload
WISH = 0.05  # of the answerable questions: what may be refused
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
PAUSE_S = 0.2
UNFIT = re.compile(r"[^\w ()-]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    relevance: float
    refused: bool  # without a rule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedding", help="embedding model (the server's own)")
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(FOREIGN)} (all)")
    options = parser.parse_args()
    settings = {"KB_EMBEDDING": options.embedding} if options.embedding else {}
    with TemporaryDirectory() as folder, Server(Path(folder), **settings) as server, Client(server.port) as client:
        for name in options.sets or FOREIGN:
            documents = read_lines(f"{name}.corpus")
            fill(client, name, documents)
            groups = draw_questions(name, documents)
            asked = {kind: [ask(client, name, one) for one in questions] for kind, questions in groups.items()}
            for kind, title in KINDS.items():
                report(f"{name}: {title}", asked["answerable"], asked[kind])


def read_lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(find_data() / "qa" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def fill(client: Client, name: str, documents: Sequence[dict[str, Any]]) -> None:
    client.call("POST", "/api/v1/knowledge-bases", {"name": name})
    files = [
        (f"{one['doc_id']}/{UNFIT.sub('_', one['title'])[:60] or 'untitled'}.txt", one["text"]) for one in documents
    ]
    named = [(path, text.encode()) for path, text in files]
    for job in [client.upload(name, named[i : i + AT_ONCE])["job_id"] for i in range(0, len(named), AT_ONCE)]:
        while (state := client.call("GET", f"/api/v1/jobs/{job}")["state"]) != "succeeded":
            if state in ("failed", "cancelled"):
                raise SystemExit(f"{name}: the upload {state}")
            time.sleep(PAUSE_S)


def draw_questions(name: str, documents: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Bodies of searches. A foreign question is asked of a document drawn by chance where one document is asked."""
    dice = random.Random(7)
    own, foreign = read_lines(f"{name}.queries"), read_lines(f"{FOREIGN[name]}.queries")
    groups = {
        "answerable": [one for one in own if one["answerable"]],
        "near": [one for one in own if not one["answerable"]],
        "foreign": foreign,
    }
    drawn: dict[str, list[dict[str, Any]]] = {}
    for kind, questions in groups.items():
        most = MOST if kind != "foreign" else min(MOST, len(groups["answerable"]))
        drawn[kind] = []
        for one in dice.sample(questions, min(most, len(questions))):
            body = {"question": one["question"]}
            if name in ONE_DOCUMENT:
                document = dice.choice(documents)["doc_id"] if kind == "foreign" else one["doc_id"]
                body["filter"] = {"path_prefix": f"{document}/"}
            drawn[kind].append(body)
    return drawn


def ask(client: Client, name: str, body: dict[str, Any]) -> Asked:
    path = f"/api/v1/knowledge-bases/{name}"
    search = {"query": body["question"], "relevance": True, **{key: body[key] for key in body if key != "question"}}
    found = client.call("POST", f"{path}/search", search)["relevance"]
    refused = client.call("POST", f"{path}/ask", body)["refused"]
    return Asked(relevance=found["value"] if found else 0.0, refused=refused)


def report(title: str, answerable: Sequence[Asked], unanswerable: Sequence[Asked]) -> None:
    """Even ones calibrate, odd ones are judged."""
    givers = [[one.relevance for one in group[::2]] for group in (answerable, unanswerable)]
    judged = [group[1::2] for group in (answerable, unanswerable)]
    values = [[one.relevance for one in group] for group in judged]
    print(f"\n### {title}\n")
    area = measure_auc(*values)
    chance = ", **near chance**" if is_near_chance(area) else ""
    held_out = f"{len(values[0])} answerable and {len(values[1])} unanswerable questions held out"
    print(f"{held_out}, AUC {show(area)}{chance}\n")
    print("| threshold | answerable refused | unanswerable refused |\n|---|---|---|")
    for wish, point in zip(SHARES, list_points(*givers, SHARES), strict=True):
        rates = [find_rate(count_below(group, point.threshold), len(group)) for group in values]
        told = show if wish == WISH else lambda rate: f"{rate.share:.3f}"
        print(f"| calibrated for {wish:.0%}: {point.threshold:.3f} | {told(rates[0])} | {told(rates[1])} |")
    fixed = [find_rate(sum(one.refused for one in group), len(group)) for group in judged]
    print(f"| fixed | {show(fixed[0])} | {show(fixed[1])} |", flush=True)


def show(rate: Rate) -> str:
    return f"{rate.share:.3f} ({rate.low:.3f}–{rate.high:.3f})"


if __name__ == "__main__":
    main()
