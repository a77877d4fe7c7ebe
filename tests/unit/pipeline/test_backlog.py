from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.request import Request
from batchyard.endpoints.embeddings import GROUPED
from batchyard.pipeline.backlog import AHEAD_LINES, WAITING_LINES, Backlog, Carried, Held
from batchyard.pipeline.group import Groups
from batchyard.policy.group import GROUP_BYTES
from batchyard.policy.retry import Again, Past

EMBEDDINGS = "/v1/embeddings"


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


def embeddings(*kinds: str) -> Iterator[Request]:
    """Requests for embeddings, each with its kind among its options."""
    return (
        Request(line, f"id-{line}", EMBEDDINGS, "m", b'{"model":"m","kind":"%b","input":"t"}' % kind.encode())
        for line, kind in enumerate(kinds)
    )


def lines(group: list[Carried]) -> list[int]:
    return [line.request.line for line in group]


def all_of(backlog: Backlog) -> list[list[int]]:
    taken: list[list[int]] = []
    while group := backlog.take(0.0):
        taken.append(lines(group))
    return taken


def test_lines_for_an_embedding_come_in_groups_and_the_last_is_not_waited_for() -> None:
    assert all_of(Backlog(embeddings(*"a" * 7), groups=Groups(GROUPED, 3))) == [[0, 1, 2], [3, 4, 5], [6]]
    assert all_of(Backlog(embeddings(*"aa"), groups=Groups(GROUPED, 1))) == [[0], [1]]
    assert all_of(Backlog(requests(2), groups=Groups(GROUPED, 3))) == [[0], [1]]


def test_lines_of_other_options_do_not_stand_in_the_way_of_a_group() -> None:
    backlog = Backlog(embeddings(*"abacabb"), groups=Groups(GROUPED, 3))
    assert all_of(backlog) == [[0, 2, 4], [1, 5, 6], [3]]
    assert backlog.empty


def test_a_few_lines_are_read_ahead_and_no_more() -> None:
    kinds = ["a", *(f"k{n}" for n in range(AHEAD_LINES)), "a"]
    assert all_of(Backlog(embeddings(*kinds), groups=Groups(GROUPED, 3)))[0] == [0]
    assert all_of(Backlog(embeddings(*kinds[1:]), groups=Groups(GROUPED, 3)))[-1] == [AHEAD_LINES]


def test_lines_of_a_group_that_failed_stay_among_themselves_and_small_groups_go_first() -> None:
    backlog = Backlog(embeddings(*"a" * 9), groups=Groups(GROUPED, 4))
    first, second = backlog.take(0.0), backlog.take(0.0)
    for line in (*first, *second):
        line.most = 2
        backlog.again(line, again(), due=0.0)
    for line in backlog.take(0.0):
        line.most = 1
        backlog.again(line, again(), due=0.0)
    assert all_of(backlog) == [[0], [1], [2, 3], [4, 5], [6, 7], [8]]


def test_a_suspect_goes_alone_though_it_could_be_in_a_group() -> None:
    backlog = Backlog(embeddings(*"aaaa"), groups=Groups(GROUPED, 2))
    suspect, other = backlog.take(0.0)
    backlog.again(suspect, again(alone=True), due=0.0)
    assert not backlog.take(0.0)
    backlog.done(other)
    assert lines(backlog.take(0.0)) == [0]
    assert not backlog.take(0.0)
    backlog.done(suspect)
    assert lines(backlog.take(0.0)) == [2, 3]


def test_what_is_read_ahead_counts_as_held_and_is_given_back() -> None:
    held = Held(10_000)
    backlog = Backlog(embeddings(*"abab"), held, Groups(GROUPED, 2))
    group = backlog.take(0.0)
    assert held.bytes == sum(line.held_bytes for line in group) + group[0].held_bytes
    backlog.done(group[0])
    assert held.bytes == 2 * group[0].held_bytes
    backlog.close()
    assert held.bytes == 0


def test_the_texts_of_a_group_are_bounded_in_bytes() -> None:
    text = b"x" * (GROUP_BYTES // 4)
    many = (Request(n, f"id-{n}", EMBEDDINGS, "m", b'{"model":"m","input":"%b"}' % text) for n in range(10))
    assert [len(group) for group in all_of(Backlog(many, groups=Groups(GROUPED, 64)))] == [4, 4, 2]
