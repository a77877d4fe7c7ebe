import io
import json
from pathlib import Path

import pytest
from msgspec import Struct
from rich.console import Console

from batchyard.cli.exits import exit_code
from batchyard.cli.summary import Prices, Summary, print_summary, summarize, write_summary
from batchyard.cli.timed import TimedTally
from batchyard.config import Compat, RunOptions
from batchyard.domain.errors import Unavailable
from batchyard.pipeline.tally import Tally

OPTIONS = RunOptions(input="in.jsonl", output="https://user:pw@host/out?sig=secret")


class End(Struct):
    complete: bool
    succeeded: int
    errored: int
    lines: int = 100
    already: bool = False


def a_tally() -> Tally:
    return Tally(
        lines=100,
        resumed=40,
        followers=10,
        invalid=5,
        succeeded=40,
        errored=2,
        retries=7,
        input_tokens=2_000_000,
        output_tokens=500_000,
        cached_tokens=100_000,
        engine="llama.cpp, 8 slots",
        failures={"server_error": 2},
        seconds={"validate": 1.0, "running": 20.0},
    )


def a_summary(end: End | Exception, prices: Prices | None = None) -> Summary:
    return summarize(OPTIONS, a_tally(), end, code=0, seconds=22.0, prices=prices or Prices(0.5, 2.0))


def printed(summary: Summary) -> str:
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=200))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("end", "compat", "code"),
    [
        (End(True, 5, 0), Compat.OPENAI, 0),
        (End(True, 4, 1), Compat.OPENAI, 3),
        (End(True, 0, 5), Compat.VLLM, 0),
        (End(True, 0, 5), Compat.FASTDEPLOY, 0),
        (End(False, 2, 0), Compat.OPENAI, 130),
        (End(False, 2, 1), Compat.VLLM, 130),
        (Unavailable("no engine"), Compat.OPENAI, 1),
        (ValueError(), Compat.VLLM, 1),
    ],
)
def test_the_exit_code_says_how_it_ended(end: End | Exception, compat: Compat, code: int) -> None:
    assert exit_code(end, compat) == code


def test_a_finished_run_counts_all_its_output() -> None:
    summary = a_summary(End(True, 91, 9))
    assert (summary.lines.succeeded, summary.lines.errored, summary.lines.pending) == (91, 9, 0)
    assert summary.speed.lines == pytest.approx(42 / 20)
    assert summary.cost == pytest.approx(2.0)


def test_a_stopped_run_says_what_is_left() -> None:
    summary = a_summary(End(False, 0, 0))
    assert (summary.lines.succeeded, summary.lines.pending, summary.complete) == (40, 8, False)


def test_a_run_that_found_its_output_counts_it_as_done_before() -> None:
    summary = summarize(OPTIONS, Tally(), End(True, 100, 0, already=True), code=0, seconds=0.1, prices=Prices())
    assert (summary.lines.total, summary.lines.succeeded, summary.lines.resumed) == (100, 100, 100)


def test_time_is_booked_under_the_stage_that_took_it() -> None:
    clock = iter([0.0, 1.0, 4.0, 4.5, 9.0])
    tally = TimedTally(lambda: next(clock))
    tally.stage = "running"
    tally.stage = "writing"
    tally.stage = "running"
    tally.settle()
    assert tally.seconds == {"starting": 1.0, "running": 7.5, "writing": 0.5}


def test_without_prices_there_is_no_cost() -> None:
    assert a_summary(End(True, 91, 9), Prices()).cost is None
    assert a_summary(End(True, 91, 9), Prices(input=1.0)).cost == pytest.approx(2.0)


def test_secrets_in_places_are_not_shown() -> None:
    summary = a_summary(End(True, 91, 9))
    assert summary.output == "https://host/out?..."
    assert "secret" not in printed(summary)


def test_the_table_says_what_matters() -> None:
    text = printed(a_summary(End(True, 91, 9)))
    for words in (
        "91 answered, 9 failed",
        "40 from an earlier run, 10 deduplicated",
        "2 failed: server_error",
        "2,000,000 in, 500,000 out, 100,000 cached",
        "22 s (running 20 s, validate 1.0 s)",
        "llama.cpp, 8 slots",
        "2.0000",
    ):
        assert words in text, words


def test_the_file_holds_every_figure(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    write_summary(a_summary(Unavailable("gone", remedy="wait")), str(path))
    written = json.loads(path.read_text())
    assert written["error"] == {"code": "unavailable", "message": "gone", "remedy": "wait"}
    assert set(written) == set(Summary.__struct_fields__)
    assert written["lines"]["total"] == 100 and written["failures"] == {"server_error": 2}
    assert [child.name for child in tmp_path.iterdir()] == ["s.json"]
