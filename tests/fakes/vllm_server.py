"""A real vLLM on this machine's processor, from an environment of its own: `make test-vllm` makes it (.venv-vllm)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from fakes.http_client import NO_TLS, wait_until
from fakes.network import take_port
from fakes.server import KB, Server, make_environment

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-vllm"
ABSENT = "no .venv-vllm: `make test-vllm` makes it"
NAME = "Qwen/Qwen2.5-7B-Instruct"
KEY = "secret-of-vllm"
WINDOW = 4_096
START_S = 280.0  # the first start on a busy machine
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_HOST_IP": "127.0.0.1",  # or it finds its own by a connection to 8.8.8.8
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "2",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def find_source() -> Path:
    """The source package of `llama-cpp-python`, which holds Qwen's vocabulary."""
    return next((ENVIRONMENT / "share").glob("llama_cpp_python-*.tar.gz"))


class VllmServer:
    """`kb llm serve` with these options, as a process group of its own; killed on leaving."""

    def __init__(self, folder: Path, *options: str, name: str = NAME) -> None:
        self.port = take_port()
        self.name = name
        self._log_path = folder.with_suffix(".log")
        self._command = [*KB, "llm", "serve", "--vllm", str(ENVIRONMENT / "bin" / "vllm"), "--model", str(folder)]
        self._command += ["--served-name", name, "--port", str(self.port), *options, "--", "--enforce-eager"]
        self._process: subprocess.Popen[bytes] | None = None
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"

    def __enter__(self) -> Self:
        environment = make_environment(self._log_path, llm_api_key=KEY) | SETTINGS
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(self._is_up, "vLLM answers", START_S)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def count_running(self) -> float:
        """Requests that it is writing answers to."""
        return self.read_metric("vllm:num_requests_running") + self.read_metric("vllm:num_requests_waiting")

    def count_finished(self) -> float:
        """Answers that it has written to their end."""
        return self.read_metric("vllm:request_success_total")

    def read_metric(self, name: str) -> float:
        """The sum over its labels."""
        page = httpx.get(f"{self.root}/metrics", timeout=30, trust_env=False, verify=NO_TLS).text
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE))

    def _is_up(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"vLLM ended with {code}: {self._log_path.read_text('utf-8', 'replace')[-4_000:]}"
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.root}/health", timeout=5, trust_env=False, verify=NO_TLS).status_code == 200
        return False

    def kill(self) -> None:
        """kill -9, with its engine."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)


@contextmanager
def serve_over(vllm: VllmServer, folder: Path, files: Mapping[str, bytes]) -> Iterator[httpx.Client]:
    """Our server over it, with a store in `folder` whose one knowledge base `k` has these files."""
    settings = {"llm_base_url": vllm.url, "llm_model": vllm.name, "llm_api_key": KEY}
    with Server(folder, **settings) as server:
        filling = server.open_client("k")
        filling.create()
        filling.upload(files)
        filling.wait_until_idle()
        with httpx.Client(base_url=server.url, timeout=200, trust_env=False, verify=NO_TLS) as client:
            yield client
