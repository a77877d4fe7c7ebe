"""A run that is interrupted keeps what it has, says how to go on, and goes on when it is asked again."""

import signal

import pytest

from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli
from tests.support.lines import answers_by_id, chat_file

LINES = 60
FREE = 20
INFLIGHT = 8


def words(url: str) -> tuple[str, ...]:
    upstream = ("--upstream", url + "v1", "--model", "m", "--max-inflight", str(INFLIGHT))
    return ("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", "--progress", "plain", *upstream)


def check_goes_on(cli: Cli, gate: Gate, url: str) -> None:
    """The rest is asked, nothing that was answered is asked again, and the output is whole."""
    gate.open()
    done = cli.run(*words(url))
    assert done.code == 0, done.stderr
    assert answers_by_id(cli.path("out.jsonl").read_bytes()) == {f"req-{n}": f"text {n}" for n in range(LINES)}
    assert len(gate.asked) <= LINES + INFLIGHT


def test_ctrl_c_finishes_what_is_under_way(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(LINES))
    gate = Gate(FREE)
    with chatting(gate) as upstream:
        with cli.start(*words(upstream.url)) as run:
            gate.wait_for(FREE + 1)
            run.send(signal.SIGINT)
            run.wait_for("again to stop at once")
            gate.open()
            done = run.finish()
        assert done.code == 130 and "run the same command again" in done.stderr
        assert not cli.path("out.jsonl").exists()
        check_goes_on(cli, gate, upstream.url)
        assert len(gate.asked) == LINES, "what was under way was finished, so nothing was asked twice"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asking_twice_stops_at_once_and_loses_nothing_durable(cli: Cli, number: signal.Signals) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(LINES))
    gate = Gate(FREE)
    with chatting(gate) as upstream:
        with cli.start(*words(upstream.url)) as run:
            gate.wait_for(FREE + 1)
            run.send(number)
            run.wait_for("requests under way")
            run.send(number)
            done = run.finish()
        assert done.code == 130, done.stderr
        check_goes_on(cli, gate, upstream.url)


def test_a_killed_run_goes_on(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(LINES))
    gate = Gate(FREE)
    with chatting(gate) as upstream:
        with cli.start(*words(upstream.url)) as run:
            gate.wait_for(FREE + INFLIGHT)
            run.send(signal.SIGKILL)
            assert run.finish().code == -signal.SIGKILL
        gate.open()
        done = cli.run(*words(upstream.url))
        assert done.code == 0, done.stderr
        assert answers_by_id(cli.path("out.jsonl").read_bytes()) == {f"req-{n}": f"text {n}" for n in range(LINES)}


def test_fresh_starts_over(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(chat_file(5))
    gate = Gate()
    with chatting(gate) as upstream:
        assert cli.run(*words(upstream.url)).code == 0
        assert cli.run(*words(upstream.url), "--fresh").code == 0
    assert len(gate.asked) == 10
