"""What `pip install .[cpu]` brings, in a fresh virtual environment: its size, and that no torch comes with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure

ROOT = Path(__file__).resolve().parent.parent
UNWANTED = ("torch", "transformers", "sentence_transformers", "langchain_core", "llama_index", "triton", "nvidia")
LARGEST = 5


def measure_install() -> list[Figure]:
    with TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        site = next(venv.glob("lib/python*/site-packages"))
        before = measure_folder(venv)
        began = time.perf_counter()
        pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", f"{ROOT}[cpu]"], check=True, cwd=ROOT)
        spent = time.perf_counter() - began
        found = [name for name in UNWANTED if (site / name).exists()]
        sizes = sorted(
            ((measure_folder(entry), entry.name) for entry in site.iterdir() if entry.is_dir()), reverse=True
        )
        largest = ", ".join(f"{name} {size:.0f}" for size, name in sizes[:LARGEST])
        return [
            Figure(name="core install (`pip install .[cpu]`)", value=measure_folder(venv), unit="MB", at_most=450,
                   note=f"venv and pip alone {before:.0f} MB; largest: {largest}"),
            Figure(name="… of it torch, transformers and their like", value=len(found), unit="packages", at_most=0,
                   note=", ".join(found)),
            Figure(name="… time to install", value=spent, unit="s", note="depends on the package index"),
        ]  # fmt: skip


def measure_folder(folder: Path) -> float:
    """Megabytes on the disk, as `du` counts them."""
    return sum(entry.lstat().st_blocks * 512 for entry in folder.rglob("*") if not entry.is_symlink()) / 1e6
