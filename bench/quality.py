"""Retrieval quality over HTTP, by the evaluation's own script where the evaluation data is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure
from server import Server
from texts import find_data

# set → least answer@1024, least answer@512
TARGETS = {"cmrc_long_zh": (0.94, 0.90), "squad_en": (0.92, 0.88), "rgb_zh": (0.92, 0.85), "nq_en": (0.95, 0.94)}


def measure_quality() -> list[Figure] | str:
    """The figures, or why there are none."""
    script = find_data().parent / "bench" / "quality_http.py"
    if not script.exists():
        return f"skipped: there is no {script.name} beside the evaluation data (KB_EVAL_DATA)"
    figures: list[Figure] = []
    with TemporaryDirectory() as folder, Server(Path(folder)) as server:
        command = [sys.executable, script, "--url", server.url, "--data", find_data() / "qa", *TARGETS]
        done = subprocess.run(command, capture_output=True, check=False)
        for line in done.stdout.decode().splitlines():
            figures += list_figures(json.loads(line))
        if done.returncode:
            return f"{script.name} ended with {done.returncode}: {done.stderr.decode()[-300:]}"
    return figures


def list_figures(found: dict) -> list[Figure]:
    at_1024, at_512 = TARGETS[found["set"]]
    rest = f"answer@2048 {found['answer@2048']}, doc@1 {found['doc@1']}, mrr@10 {found['mrr@10']}"
    pace = f"{found['docs']} documents in {found['ingest_s']} s, search p50 {found['search_ms_p50']} ms"
    return [
        Figure(name=f"{found['set']} answer@1024", value=found["answer@1024"], unit="", at_least=at_1024, note=rest),
        Figure(name=f"{found['set']} answer@512", value=found["answer@512"], unit="", at_least=at_512, note=pace),
    ]
