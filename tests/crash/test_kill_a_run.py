"""`kill -9` of the real command, at random moments, again and again: each line still has exactly one right answer."""

import json
import signal
from random import Random

import pytest

from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli
from tests.support.lines import chat_file

LINES = 400
INFLIGHT = 16
KILLS = 8
FRESH = 120
"""More than the server answers while a result waits for its sync."""


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("seed", range(3))
def test_each_line_has_exactly_one_right_answer(cli: Cli, seed: int) -> None:
    random, gate = Random(seed), Gate()
    cli.path("in.jsonl").write_bytes(chat_file(LINES))
    with chatting(gate) as upstream:
        words = ("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", "--upstream", upstream.url + "v1", "--model", "m")
        words += ("--max-inflight", str(INFLIGHT), "--progress", "none")
        for _ in range(KILLS):
            with cli.start(*words) as run:
                gate.wait_for(min(len(gate.asked) + random.randint(1, 40), LINES))
                run.send(signal.SIGKILL)
                killed = run.finish().code != 0
            assert killed != cli.path("out.jsonl").exists() or len(gate.asked) >= LINES
        done = cli.run(*words)
    assert done.code == 0, done.stderr
    results = [json.loads(line) for line in cli.path("out.jsonl").read_bytes().splitlines()]
    assert [result["custom_id"] for result in results] == [f"req-{number}" for number in range(LINES)]
    for number, result in enumerate(results):
        assert result["response"]["body"]["choices"][0]["message"]["content"] == f"text {number}"
    assert len(gate.asked) <= LINES + KILLS * (INFLIGHT + FRESH)
