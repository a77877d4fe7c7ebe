"""Progress of a batch: the line, the speed, and where it is drawn."""

import io

from batchyard.cli.flags import Progress
from batchyard.cli.watch import Board, Speed, progress_line


def a_batch(done: int, status: str = "in_progress") -> dict[str, object]:
    return {"status": status, "request_counts": {"total": 700, "completed": done, "failed": 0}}


def test_a_line_says_state_counts_speed_and_what_is_left() -> None:
    assert progress_line(a_batch(412), 35.14, 8.2) == "in_progress: 412/700 | 35.1 lines/s | 8 s left"
    assert progress_line(a_batch(0), 0.0, None) == "in_progress: 0/700"
    assert progress_line(a_batch(700, "completed"), 35.0, 0.0) == "completed: 700/700"
    assert progress_line({"status": "validating"}, 0.0, None) == "validating"


def test_speed_is_that_of_the_recent_past() -> None:
    speed = Speed()
    for second in range(100):
        speed.look(0 if second < 50 else 10 * (second - 50), float(second))
    assert speed.per_second == 10.0 and speed.seconds_left(100) == 10.0


def test_a_speed_of_nothing_leaves_the_time_open() -> None:
    speed = Speed()
    speed.look(5, 1.0)
    assert speed.per_second == 0.0 and speed.seconds_left(7) is None


def test_a_log_gets_a_line_for_each_state_and_every_few_seconds() -> None:
    stream = io.StringIO()
    board = Board(stream, Progress.AUTO)
    for second in range(8):
        board.show(a_batch(second), float(second))
    board.show(a_batch(700, "completed"), 8.0)
    board.close()
    assert [line.partition(" |")[0] for line in stream.getvalue().splitlines()] == [
        "in_progress: 0/700",
        "in_progress: 5/700",
        "completed: 700/700",
    ]


def test_a_terminal_has_one_line_that_goes_at_the_end() -> None:
    stream = io.StringIO()
    board = Board(stream, Progress.BAR)
    board.show(a_batch(1), 0.0)
    board.show(a_batch(2), 1.0)
    board.close()
    assert stream.getvalue().count("\n") == 0 and stream.getvalue().endswith("\r\x1b[K")


def test_nothing_is_drawn_where_nothing_is_wanted() -> None:
    stream = io.StringIO()
    board = Board(stream, Progress.NONE)
    board.show(a_batch(1), 0.0)
    board.close()
    assert stream.getvalue() == ""
