"""`make demo`: start the server, upload the samples through the API, ask in Chinese and in English, keep serving.

Uses the same commands that a user types; every step is printed before it runs. With --once it ends after the answers.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KB = Path(sys.executable).parent / "kb"
QUESTIONS = ("开放夜的成人票多少钱一张？", "Why was the mirror of the observatory re-coated in 2024?")
READY_SECONDS = 30


def find_port(wanted: int) -> int:
    """The wanted port, or a free one when it is taken."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", wanted)) != 0:
            return wanted
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Raises SystemExit when the server ends or is not ready in time."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the server ended at once with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.05)
    sys.exit(f"the server is not ready after {READY_SECONDS} s")


def run_command(*words: str, environment: dict[str, str], accepted: tuple[int, ...] = (0,)) -> None:
    """Raises SystemExit when the command ends with another exit code than the accepted ones."""
    print(f"\n$ kb {' '.join(repr(word) if ' ' in word or '？' in word else word for word in words)}", flush=True)
    code = subprocess.run([KB, *words], env=environment, check=False).returncode
    if code not in accepted:
        sys.exit(f"kb {words[0]} ended with exit code {code}")


def main() -> None:
    once = "--once" in sys.argv
    port = find_port(int(os.environ.get("KB_PORT", "8088")))
    url = f"http://127.0.0.1:{port}"
    data_dir = os.environ.get("KB_DATA_DIR", str(ROOT / "data" / "demo"))
    quiet = {"KB_LOG_LEVEL": os.environ.get("KB_LOG_LEVEL", "warning")}
    environment = {**os.environ, **quiet, "KB_PORT": str(port), "KB_URL": url, "KB_DATA_DIR": data_dir}
    print(f"$ KB_PORT={port} KB_DATA_DIR={os.path.relpath(data_dir)} kb serve", flush=True)
    # A session of its own: Ctrl-C reaches this script alone, which then ends the server in order.
    server = subprocess.Popen([KB, "serve"], env=environment, start_new_session=True)
    try:
        wait_until_ready(server, url)
        # One sample is a scanned page without text: it fails alone and says so, hence exit code 1.
        run_command(
            "push",
            os.path.relpath(ROOT / "data" / "samples"),
            "--kb",
            "samples",
            environment=environment,
            accepted=(0, 1),
        )
        for question in QUESTIONS:
            run_command("ask", question, "--kb", "samples", environment=environment)
        if not once:
            print(
                f"\nThe server keeps running on {url}; try: KB_URL={url} {os.path.relpath(KB)} ask '…' (Ctrl-C ends it)"
            )
            server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    main()
