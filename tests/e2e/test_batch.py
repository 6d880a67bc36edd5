"""`kb ask --batch` against the running server: killed in the middle and run again, every question has one answer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from fakes.http_client import PATIENCE_S, wait_until
from fakes.server import KB, Server, make_environment

QUESTIONS = 150


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_batch_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    batch, out = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    lines = [{"question": f"第{n}号船坞的船费是多少镑？", "id": n} for n in range(QUESTIONS)]
    batch.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    with Server(tmp_path / "store", workers=1) as server:
        client = server.open_client("k")
        client.create()
        client.upload({"fees.txt": "租船一天的船费是十二镑。".encode()})
        client.wait_until_idle()
        command = [*KB, "ask", "--batch", str(batch), "--out", str(out), "--json"]
        environment = make_environment(tmp_path / "unused") | {"KB_URL": server.url}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            wait_until(lambda: count_lines(out) >= 10, "ten answers are there")
            process.kill()
        before = count_lines(out)
        assert before < QUESTIONS
        with out.open("ab") as file:
            file.write(b'{"line": 3, "request": {"ques')  # as a write that was cut off leaves it
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_S, check=True)
        counts = json.loads(done.stdout)
        assert counts == {"answered": QUESTIONS - before, "refused": 0, "failed": 0, "skipped": before}
        conversations = client.http.get("/api/v1/conversations").json()["items"]
    told = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert sorted(one["request"]["id"] for one in told) == list(range(QUESTIONS))
    assert all("十二镑" in one["response"]["answer"] for one in told)
    assert conversations == []
