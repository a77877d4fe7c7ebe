"""Every example runs as it stands, and does what it says."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchyard import demo
from tests.support import models
from tests.support.batches import serving, url_of
from tests.support.chat_server import Gate, chatting
from tests.support.cli import UNWANTED, Cli
from tests.support.lines import chat_line, jsonl, parsed
from tests.support.processes import until

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_SECONDS = 100

Example = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def example(tmp_path: Path) -> Example:
    """Runs a script in a folder of its own, with the command of this environment on the PATH."""
    environment = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    environment["PATH"] = os.pathsep.join([str(_commands(tmp_path)), environment["PATH"]])
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")

    def run(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        interpreter = "/bin/sh" if name.endswith(".sh") else sys.executable
        return subprocess.run(
            [interpreter, EXAMPLES / name, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )

    return run


def _commands(folder: Path) -> Path:
    """`batchyard` and `python3`, whatever the environment of the tests calls them."""
    commands = folder / "bin"
    commands.mkdir()
    for name, words in {"batchyard": "-m batchyard", "python3": ""}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (commands / name).chmod(0o755)
    return commands


def test_every_example_is_listed_and_tested() -> None:
    scripts = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".sh", ".py")}
    listed, tested = (EXAMPLES / "README.md").read_text(), Path(__file__).read_text()
    assert {name for name in scripts if f"]({name})" not in listed} == set()
    assert {name for name in scripts if f'"{name}"' not in tested} == set()


def test_the_demo_is_answered_rightly(example: Example) -> None:
    done = example("demo.sh")
    assert done.returncode == 0, done.stderr
    assert "500 of 500 answers are right" in done.stdout


def test_two_lines_run_as_three_tools_would_run_them(example: Example, tmp_path: Path) -> None:
    done = example("two_lines.sh")
    assert done.returncode == 0, done.stderr
    prefixes = {"openai": "batch_req_", "vllm": "vllm-", "fastdeploy": "fastdeploy-"}
    for tool, prefix in prefixes.items():
        lines = parsed((tmp_path / f"two-{tool}.jsonl").read_bytes())
        assert [line["custom_id"] for line in lines] == ["req-00001", "req-00002"]
        assert all(line["id"].startswith(prefix) and line["error"] is None for line in lines)
        assert all(line["response"]["body"]["object"] == "chat.completion" for line in lines)


def test_a_file_runs_against_a_server(example: Example, tmp_path: Path) -> None:
    with chatting() as upstream:
        done = example("upstream.sh", upstream.url + "v1", "m")
    assert done.returncode == 0, done.stderr
    assert len(parsed((tmp_path / "upstream-output.jsonl").read_bytes())) == 2
    assert json.loads((tmp_path / "upstream-summary.json").read_text())["lines"]["succeeded"] == 2


def test_answers_follow_a_schema(example: Example) -> None:
    done = example("json_schema.sh")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["alice: Alice in Paris", "oscar: Oscar in Oslo"]


def test_related_texts_have_related_vectors(example: Example, tmp_path: Path) -> None:
    done = example("embeddings.sh", str(models.minilm(tmp_path / "minilm.gguf")))
    assert done.returncode == 0, done.stderr
    kitten, tax = (float(part.split()[-1]) for part in done.stdout.split(","))
    assert kitten > tax + 0.2


def test_a_pipe_carries_both_ways(example: Example) -> None:
    done = example("pipe.sh")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "req-00001 req-00002\n"


def test_a_packed_input_is_read(example: Example, tmp_path: Path) -> None:
    done = example("gzip.sh")
    assert done.returncode == 0, done.stderr
    assert len(parsed((tmp_path / "gzip-output.jsonl").read_bytes())) == 2


def test_bad_lines_are_refused_or_answered(example: Example, tmp_path: Path) -> None:
    done = example("error_lines.sh")
    codes = [int(line.rpartition(" ")[2]) for line in done.stdout.splitlines() if "exit code" in line]
    assert codes == [1, 1, 3], done.stderr
    assert not (tmp_path / "never.jsonl").exists()
    assert [line["custom_id"] for line in parsed((tmp_path / "answers.jsonl").read_bytes())] == ["good"]
    assert len(parsed((tmp_path / "errors.jsonl").read_bytes())) == 3


def test_a_killed_run_is_recovered_by_hand_and_goes_on(example: Example, tmp_path: Path) -> None:
    done = example("resume.sh")
    assert done.returncode == 0, done.stderr
    assert "killed: exit code 137" in done.stdout and "500 of 500 answers are right" in done.stdout
    recovered = parsed((tmp_path / "recovered.jsonl").read_bytes())
    assert recovered and all(_is_right(line) for line in recovered)


async def test_by_hand_gives_what_the_run_itself_would_have_given(cli: Cli, example: Example) -> None:
    """Every answer that was safe, those that repeated lines take from another included, and nothing else."""
    asked = [chat_line(f"first-{n}", f"text {n}", temperature=0) for n in range(40)]
    repeated = [chat_line(f"again-{n}", f"text {n}", temperature=0) for n in range(40)]
    cli.path("in.jsonl").write_bytes(jsonl(asked + repeated))
    gate = Gate(20)
    journal = cli.path("out.jsonl.batchyard") / "journal" / "000001.jsonl"
    with chatting(gate) as upstream:
        words = ("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", "--upstream", upstream.url + "v1", "--model", "m")
        with cli.start(*words, "--max-inflight", "4") as run:
            await until(lambda: journal.exists() and journal.read_bytes().count(b"\n") == 20)
            run.send(signal.SIGKILL)
            run.finish()
        recovered = parsed(example("recover_by_hand.py", "out.jsonl.batchyard").stdout.encode())
        gate.open()
        assert cli.run(*words).code == 0
    finished = {line["custom_id"]: line["response"]["body"] for line in parsed(cli.path("out.jsonl").read_bytes())}
    assert len(finished) == 80
    assert len(recovered) == 40 and sum(line["custom_id"].startswith("again-") for line in recovered) == 20
    assert {line["custom_id"]: line["response"]["body"] for line in recovered}.items() <= finished.items()


def _is_right(line: dict[str, Any]) -> bool:
    choice = line["response"]["body"]["choices"][0]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    expected = demo.answers()[line["custom_id"]]
    return text.strip() == expected or (expected.startswith("{") and json.loads(text) == json.loads(expected))


def test_a_webhook_tells_of_the_end(example: Example, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    with serving(cli, "--engine", "echo", "--model", "m", "--webhook-allow-private", "127.0.0.1") as (run, _):
        done = example("webhook.py", f"{url_of(run)}/v1", str(cli.path("batchyard-data/admin.key")))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("heard that batch_") and done.stdout.endswith("has ended: completed\n")
