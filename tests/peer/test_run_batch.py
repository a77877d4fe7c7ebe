"""The command with the real vLLM behind it, as a person with a Hugging Face model has it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tests.support.demo_lines import questions, right_answers, write_batch
from tests.support.processes import all_end_within, until

LINES = 1500


@pytest.fixture
def environment(vllm: str) -> dict[str, str]:
    return {**os.environ, "BATCHYARD_VLLM": vllm, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


def command(folder: Path, model: Path) -> Sequence[str]:
    places = ("-i", str(folder / "in.jsonl"), "-o", str(folder / "out.jsonl"), "--run-dir", str(folder / "run"))
    report = ("--summary", str(folder / "summary.json"), "--progress", "plain")
    flags = ("--served-model-name", "demo", "--dtype", "float32", "--max-num-seqs", "64", "--no-dedupe")
    return (sys.executable, "-m", "batchyard", "run-batch", *places, *report, "--model", str(model), *flags)


def test_killed_in_the_middle_it_leaves_no_process_and_a_rerun_asks_only_for_the_rest(
    environment: dict[str, str], hf_folder: Path, tmp_path: Path
) -> None:
    asked = questions(LINES, seed=2)
    write_batch(tmp_path / "in.jsonl", asked)
    words = command(tmp_path, hf_folder)

    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as first:
        asyncio.run(until(lambda: _recorded(tmp_path) > 100, seconds=300))
        below = [process.pid for process in psutil.Process(first.pid).children(recursive=True)]
        first.kill()
    assert first.returncode == -9
    assert len(below) >= 4
    assert all_end_within(below, 60)
    assert not (tmp_path / "out.jsonl").exists()

    done = subprocess.run(words, env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert right_answers(tmp_path / "out.jsonl", asked) == LINES
    ids = [json.loads(line)["custom_id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ids == [question.custom_id for question in asked]
    lines = json.loads((tmp_path / "summary.json").read_text())["lines"]
    assert 0 < lines["resumed"] < LINES


def _recorded(folder: Path) -> int:
    """Lines that the journal holds by now."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("run/**/journal/*.jsonl"))
