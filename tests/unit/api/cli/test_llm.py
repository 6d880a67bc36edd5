"""The command that `kb llm serve` writes, word by word, and what it refuses before anything is loaded."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner, Result

from api.cli.main import kb

COMPACT = ["--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}']
HERE = ["--host", "127.0.0.1", "--port", "8000", *COMPACT]
WINDOW = ["--max-model-len", "32768"]


def run(*words: str, **settings: str) -> Result:
    return CliRunner().invoke(kb, ["llm", "serve", "--print", *words], env=settings)


def name(model: str) -> list[str]:
    return ["vllm", "serve", model, "--served-model-name", model, *HERE]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([], [*name("Qwen/Qwen2.5-7B-Instruct"), *WINDOW]),
        (["--size", "0.5B"], [*name("Qwen/Qwen2.5-0.5B-Instruct"), *WINDOW]),
        (["--size", "14B", "--awq"], [*name("Qwen/Qwen2.5-14B-Instruct-AWQ"), *WINDOW]),
        (["--gptq", "--window", "8192"], [*name("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4"), "--max-model-len", "8192"]),
        (
            ["--size", "72B", "--tensor-parallel", "4"],
            [*name("Qwen/Qwen2.5-72B-Instruct"), "--tensor-parallel-size", "4", *WINDOW],
        ),
        (
            ["--tools"],
            [*name("Qwen/Qwen2.5-7B-Instruct"), *WINDOW, "--enable-auto-tool-choice", "--tool-call-parser", "hermes"],
        ),
        (
            ["--", "--gpu-memory-utilization", "0.8"],
            [*name("Qwen/Qwen2.5-7B-Instruct"), *WINDOW, "--gpu-memory-utilization", "0.8"],
        ),
        (["--model", "/data/我的 模型"], [*name("/data/我的 模型"), *WINDOW]),
    ],
)
def test_the_command(words: list[str], command: list[str]) -> None:
    result = run(*words)
    assert (result.exit_code, shlex.split(result.stdout)) == (0, command)
    assert f"KB_LLM_BASE_URL=http://127.0.0.1:8000/v1 KB_LLM_MODEL={shlex.quote(command[4])}" in result.stderr


def test_yarn_is_what_its_makers_say() -> None:
    words = shlex.split(run("--yarn").stdout)
    assert words[words.index("--max-model-len") + 1] == "131072"
    assert json.loads(words[words.index("--hf-overrides") + 1]) == {
        "max_position_embeddings": 131_072,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1_000_000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 32_768,
        },
    }


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert "KB_LLM_BASE_URL=http://[::1]:8000/v1 " in run("--host", "::1").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tensor-parallel", "8"], "8 GPUs cannot share Qwen2.5-7B evenly: --tensor-parallel 1, 2, 4"),
        (["--tensor-parallel", "7"], "--tensor-parallel 1, 2, 4"),  # 28 heads, but four of keys and values
        (["--size", "0.5B", "--tensor-parallel", "7"], "--tensor-parallel 1, 2"),
        (["--size", "1.5B", "--tensor-parallel", "6"], "--tensor-parallel 1, 2, 4"),  # 8,960 wide
        (["--size", "32B", "--tensor-parallel", "5"], "--tensor-parallel 1, 2, 4, 8"),
        (["--size", "72B", "--tensor-parallel", "3"], "--tensor-parallel 1, 2, 4, 8, 16"),
        (["--size", "3B", "--yarn"], "take 7B or more"),
        (["--window", "40000"], "--yarn reads 131,072"),
        (["--size", "1.5B", "--window", "40000"], "more than the 32,768"),
        (["--yarn", "--window", "140000"], "more than the 131,072"),
        (["--model", "x", "--awq"], "leave them out with --model"),
        (["--size", "8B"], "'8B' is not one of"),
    ],
)
def test_what_vllm_would_refuse_only_after_loading(words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_the_key_is_named_and_not_shown() -> None:
    result = run(KB_LLM_API_KEY="a-key-that-nobody-may-see")
    assert result.stdout.startswith('VLLM_API_KEY="$KB_LLM_API_KEY" vllm serve ')
    assert "a-key-that-nobody-may-see" not in result.output


def test_without_vllm_it_says_the_way_out() -> None:
    result = CliRunner().invoke(kb, ["llm", "serve", "--vllm", "vllm-that-is-not-there"])
    assert result.exit_code == 78
    assert result.stderr.splitlines()[-1].startswith("vllm_missing: there is no command 'vllm-that-is-not-there'")
    assert "pip install vllm" in result.stderr
