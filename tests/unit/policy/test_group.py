from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.result import Answer, Failure, Fault
from batchyard.policy.group import ANSWER_BYTES, FIRST_SIZE, FIRST_TRIAL, Fate, Size, fate, first_size, largest, shares

WEIGHTS = st.lists(st.integers(1, 10_000), min_size=1, max_size=80)


@given(st.integers(-5, 10**12), WEIGHTS)
def test_shares_sum_to_the_whole(total: int, weights: list[int]) -> None:
    assert sum(shares(total, weights)) == total


@given(WEIGHTS, st.data())
def test_everyone_has_something_where_there_is_enough(weights: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(len(weights), 10**6))
    assert min(shares(total, weights)) >= 1


def test_who_weighs_more_has_more() -> None:
    assert shares(103, [10, 20, 70]) == [11, 21, 71]
    assert shares(64, [5] * 64) == [1] * 64
    assert shares(0, [3, 4]) == [0, 0]


def a_size() -> Size:
    """Of an engine that is known to be quick."""
    return Size(64, 64, 64)


def test_groups_begin_small_and_grow_while_answers_come_quickly() -> None:
    size, seen = first_size(64), [first_size(64).allowed]
    for seconds in (2.0, 0.1, 3.0, 1.0, 11.0, 11.0, 9.0, 0.1):
        size = size.answered(size.allowed, 1000, seconds)
        seen.append(size.allowed)
    assert seen == [FIRST_SIZE, 16, 32, 32, 64, 32, 16, 16, 32]


def test_two_groups_have_room_side_by_side() -> None:
    assert [largest(64, room) for room in (None, 1, 10, 320)] == [64, 1, 5, 64]


def test_a_group_that_was_too_large_is_never_asked_for_in_that_size_again_at_once() -> None:
    size = a_size().too_large(64)
    assert size.allowed == 32
    assert size.too_large(64) == size, "others of that size were on their way"
    assert size.too_large(3).allowed == 1
    assert size.too_large(2).too_large(2).allowed == 1


def answered(size: Size, times: int, *, lines: int | None = None) -> Size:
    for _ in range(times):
        size = size.answered(lines or size.allowed, 1000, 1.0)
    return size


def test_a_larger_size_is_tried_after_many_full_groups_and_later_each_time() -> None:
    small = a_size().too_large(64)
    assert answered(small, 2 * FIRST_TRIAL - 1).allowed == 32
    again = answered(small, 2 * FIRST_TRIAL)
    assert again.allowed == 64
    assert answered(again.too_large(64), 2 * FIRST_TRIAL).allowed == 32
    assert answered(again.too_large(64), 4 * FIRST_TRIAL).allowed == 64


def test_groups_that_are_not_full_say_nothing_about_larger_ones() -> None:
    assert answered(a_size().too_large(64), 10_000, lines=5).allowed == 32


def test_an_engine_that_takes_one_at_a_time_is_asked_for_two_at_some_time() -> None:
    assert answered(a_size().too_large(2), 2 * FIRST_TRIAL).allowed == 2


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 64), st.integers(0, 1 << 24))), st.integers(1, 64))
def test_there_is_always_room_for_one_and_never_for_more_than_may_be(
    events: list[tuple[bool, int, int]], ceiling: int
) -> None:
    size = first_size(ceiling)
    for good, lines, answer_bytes in events:
        size = size.answered(lines, answer_bytes, lines) if good else size.too_large(lines)
        assert 1 <= size.allowed <= ceiling


def test_long_vectors_make_small_groups() -> None:
    assert a_size().answered(64, 64 * 32_768, 1).allowed == ANSWER_BYTES // 32_768
    assert a_size().answered(1, 2 * ANSWER_BYTES, 1).allowed == 1


def test_what_may_be_one_lines_fault_is_asked_again_and_what_is_the_engines_is_shared() -> None:
    assert {status: fate(Answer(status, b"")) for status in (400, 413, 422, 500, 502, 404, 401, 429, 503)} == {
        **dict.fromkeys((400, 413, 422, 500, 502), Fate.SMALLER),
        **dict.fromkeys((404, 401, 429, 503), Fate.SHARED),
    }
    assert {fault: fate(Failure("x", "x", fault)) for fault in Fault} == {
        Fault.FINAL: Fate.SMALLER,
        Fault.LOST: Fate.APART,
        Fault.CRASHED: Fate.APART,
        Fault.DOWN: Fate.SHARED,
        Fault.OVERLOADED: Fate.SHARED,
        Fault.CANCELLED: Fate.SHARED,
    }
