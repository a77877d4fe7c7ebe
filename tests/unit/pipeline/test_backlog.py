from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.request import Request
from batchyard.pipeline.backlog import WAITING_LINES, Backlog, Carried, Held
from batchyard.policy.retry import Again, Past


def requests(count: int, size: int = 10) -> Iterator[Request]:
    return (Request(line, f"id-{line}", "/v1/completions", "m", b"x" * size) for line in range(count))


def take(backlog: Backlog, now: float) -> Carried | None:
    """The next line, where each goes by itself."""
    lines = backlog.take(now)
    assert len(lines) <= 1
    return lines[0] if lines else None


def taken(line: Carried | None) -> int | None:
    return None if line is None else line.request.line


def again(*, alone: bool = False) -> Again:
    return Again(Past(retries=1), 0.0, alone)


def test_fresh_lines_come_in_order_and_then_nothing() -> None:
    backlog = Backlog(requests(2))
    assert [taken(take(backlog, 0.0)) for _ in range(3)] == [0, 1, None]
    assert backlog.empty


def test_a_line_put_back_comes_when_it_is_due_and_before_fresh_ones() -> None:
    backlog = Backlog(requests(3))
    first = take(backlog, 0.0)
    assert first is not None
    backlog.again(first, again(), due=5.0)
    assert taken(take(backlog, 4.9)) == 1
    assert backlog.next_due() == 5.0
    assert taken(take(backlog, 5.0)) == 0
    assert taken(take(backlog, 5.0)) == 2


def test_a_backlog_with_a_waiting_line_is_not_empty() -> None:
    backlog = Backlog(requests(1))
    line = take(backlog, 0.0)
    assert line is not None
    assert backlog.empty
    backlog.again(line, again(), due=9.0)
    assert not backlog.empty


def test_bodies_in_memory_are_bounded_but_one_always_goes() -> None:
    backlog = Backlog(requests(5, size=40), held=Held(100))
    first, second = take(backlog, 0.0), take(backlog, 0.0)
    assert first is not None
    assert second is not None
    assert take(backlog, 0.0) is None
    backlog.again(first, again(), due=1.0)
    assert take(backlog, 0.0) is None  # it waits, but its body is still here
    backlog.done(second)
    assert taken(take(backlog, 0.0)) == 2
    assert taken(take(Backlog(requests(1, size=1000), held=Held(100)), 0.0)) == 0


def test_nothing_fresh_is_taken_while_very_many_lines_wait() -> None:
    backlog = Backlog(requests(WAITING_LINES + 5))
    for _ in range(WAITING_LINES):
        line = take(backlog, 0.0)
        assert line is not None
        backlog.again(line, again(), due=10.0)
    assert take(backlog, 0.0) is None
    assert taken(take(backlog, 10.0)) == 0


def test_a_suspect_goes_alone_and_nothing_goes_with_it() -> None:
    backlog = Backlog(requests(3))
    suspect, other = take(backlog, 0.0), take(backlog, 0.0)
    assert suspect is not None
    assert other is not None
    backlog.again(suspect, again(alone=True), due=0.0)
    assert take(backlog, 0.0) is None  # the other is still out
    backlog.done(other)
    assert taken(take(backlog, 0.0)) == 0
    assert take(backlog, 0.0) is None
    backlog.done(suspect)
    assert taken(take(backlog, 0.0)) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=60))
def test_every_line_is_handed_out_until_done_and_no_suspect_ever_has_company(
    story: list[tuple[int, bool, bool]],
) -> None:
    """Steps in time; at each, an oldest line on board comes back: done, or to be asked again (alone or not)."""
    backlog, now, board, finished = Backlog(requests(10)), 0.0, list[Carried](), set[int]()
    for seconds, is_done, alone in [*story, *[(10, True, False)] * 30]:
        now += seconds
        while (line := take(backlog, now)) is not None:
            board.append(line)
            assert len(board) == 1 or not any(other.alone for other in board)
        if board:
            line = board.pop(0)
            if is_done:
                backlog.done(line)
                assert line.request.line not in finished
                finished.add(line.request.line)
            else:
                backlog.again(line, again(alone=alone), now + seconds)
    assert finished == set(range(10))
    assert backlog.empty


def test_several_backlogs_hold_together_what_they_may_and_each_one_line_at_least() -> None:
    held = Held(100)
    busy, other = Backlog(requests(5, size=40), held=held), Backlog(requests(5, size=40), held=held)
    assert taken(take(busy, 0.0)) == taken(take(other, 0.0)) == 0
    assert take(busy, 0.0) is None
    third = Backlog(requests(5, size=40), held=held)
    assert taken(take(third, 0.0)) == 0, "whoever has none gets one"
    for backlog in (other, third):
        backlog.close()
    assert held.bytes == 40
    assert taken(take(busy, 0.0)) == 1
