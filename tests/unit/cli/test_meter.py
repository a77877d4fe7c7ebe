import io

import pytest

from batchyard.cli.bar import Bar
from batchyard.cli.flags import Progress
from batchyard.cli.meter import WINDOW_SECONDS, Meter, View
from batchyard.cli.progress import LINE_SECONDS, Plain, Silent, open_drawing, plain_line
from batchyard.cli.wording import amount, data, duration, fitted, rate
from batchyard.pipeline.tally import Tally


def dispatching(**counters: int) -> Tally:
    return Tally(stage="running", **counters)  # pyright: ignore[reportArgumentType]


def looks(meter: Meter, tally: Tally, *, from_second: int, to_second: int, lines_each_second: int) -> View:
    """A look each second while the tally moves on."""
    view = meter.look(tally, float(from_second))
    for second in range(from_second + 1, to_second + 1):
        tally.succeeded += lines_each_second
        tally.input_tokens += 100 * lines_each_second
        tally.output_tokens += 10 * lines_each_second
        view = meter.look(tally, float(second))
    return view


def test_speed_and_time_left_come_from_this_run_alone() -> None:
    tally = dispatching(lines=1000, resumed=700)
    view = looks(Meter(), tally, from_second=0, to_second=10, lines_each_second=10)
    assert view.lines_per_second == pytest.approx(10)
    assert view.input_tokens_per_second == pytest.approx(1000)
    assert (view.done, view.to_run) == (800, 1000)
    assert view.seconds_left == pytest.approx(20)


def test_lines_that_need_no_engine_are_not_waited_for() -> None:
    tally = dispatching(lines=1000, followers=300, invalid=100, errored=100)
    view = looks(Meter(), tally, from_second=0, to_second=10, lines_each_second=10)
    assert view.to_run == 700 and view.seconds_left == pytest.approx(50)


def test_speed_is_that_of_the_recent_past() -> None:
    meter, tally = Meter(), dispatching(lines=100_000)
    looks(meter, tally, from_second=0, to_second=100, lines_each_second=100)
    view = looks(meter, tally, from_second=100, to_second=100 + int(WINDOW_SECONDS), lines_each_second=1)
    assert view.lines_per_second == pytest.approx(1, rel=0.01)


def test_an_engine_that_answers_rarely_still_has_a_speed() -> None:
    meter, tally = Meter(), dispatching(lines=10)
    looks(meter, tally, from_second=0, to_second=1, lines_each_second=1)
    view = looks(meter, tally, from_second=1, to_second=101, lines_each_second=0)
    assert view.lines_per_second == pytest.approx(1 / 101, rel=0.02)
    assert view.seconds_left is not None and view.seconds_left > 100


def test_before_the_first_answer_nothing_is_promised() -> None:
    view = looks(Meter(), dispatching(lines=10, resumed=5), from_second=0, to_second=5, lines_each_second=0)
    assert view.seconds_left is None and view.lines_per_second == 0


def test_a_new_stage_forgets_the_speed_of_the_old_one() -> None:
    meter, tally = Meter(), Tally(stage="reading", bytes_total=1000)
    meter.look(tally, 0)
    tally.bytes_read = 500
    assert meter.look(tally, 1).bytes_per_second == 500
    tally.stage = "running"
    assert meter.look(tally, 2).bytes_per_second == 0


def test_a_line_for_a_log_says_all_that_matters() -> None:
    tally = dispatching(lines=1000, followers=200, resumed=100, retries=3, errored=2, cached_tokens=45_000, inflight=8)
    tally.engine_down_since = 4.0
    tally.failures = {"request_timeout": 1, "server_error": 4}
    line = plain_line(looks(Meter(), tally, from_second=0, to_second=10, lines_each_second=10))
    assert line == (
        "running: 202/800 lines (200 repeated, 100 from before) | 60 s left | 10.0 lines/s | tokens/s 1,000 in 100 out"
        " | 3 retries, mostly server_error | 2 failed | 45.0k tokens cached | engine down for 6 s | 8 under way"
    )


def test_reading_is_told_in_bytes() -> None:
    meter, tally = Meter(), Tally(stage="reading", bytes_total=4_000_000_000)
    meter.look(tally, 0)
    tally.bytes_read, tally.lines = 1_200_000_000, 800_000
    assert plain_line(meter.look(tally, 4)) == "reading 1.2 GB/4.0 GB at 300.0 MB/s | 800,000 lines | 9 s left"


def test_a_log_gets_a_line_at_each_stage_and_every_few_seconds() -> None:
    stream, meter, tally = io.StringIO(), Meter(), Tally(stage="reading")
    plain = Plain(stream)
    for second in range(3):
        plain.show(meter.look(tally, second), second)
    assert stream.getvalue().count("\n") == 1
    tally.stage, tally.lines = "running", 10
    for second in range(3, 3 + 2 * int(LINE_SECONDS)):
        plain.show(meter.look(tally, second), second)
    assert stream.getvalue().count("running: ") == 2


def test_a_bar_draws_and_lets_lines_pass() -> None:
    stream, meter, tally = io.StringIO(), Meter(), dispatching(lines=10, succeeded=5)
    bar = Bar(stream)
    bar.show(meter.look(tally, 0), 0)
    bar.say("[a] word")
    bar.close()
    assert "[a] word" in stream.getvalue()


def test_without_a_terminal_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    assert isinstance(open_drawing(Progress.AUTO, stream), Plain)
    assert type(open_drawing(Progress.NONE, stream)) is Silent
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_drawing(Progress.AUTO, stream), Plain)
    monkeypatch.setenv("TERM", "xterm")
    bar = open_drawing(Progress.AUTO, stream)
    bar.close()
    assert isinstance(bar, Bar)


def test_a_narrow_terminal_gets_whole_phrases() -> None:
    phrases = ["aaaa", "bbbb", "cc"]
    assert fitted(phrases, 80) == "aaaa · bbbb · cc"
    assert fitted(phrases, 12) == "aaaa · bbbb"
    assert fitted(phrases, 2) == "aaaa"


def test_numbers_read_well() -> None:
    assert [amount(n) for n in (0, 980, 1234, 35_200, 1_234_567, 2e9)] == ["0", "980", "1,234", "35.2k", "1.2M", "2.0G"]
    assert [rate(n) for n in (0, 0.25, 99.94, 1234)] == ["0", "0.2", "99.9", "1,234"]
    assert [data(n) for n in (12, 3400, 5e6, 4.2e9, 1e12)] == ["12 B", "3.4 kB", "5.0 MB", "4.2 GB", "1.0 TB"]
    assert [duration(n) for n in (0.4, 60, 720, 11_100, 187_200)] == ["0 s", "60 s", "12 min", "3 h 05 min", "2 d 4 h"]
