from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.policy.pace import CEILING, Pace, first_pace


def run(pace: Pace, rate: Callable[[int], float], windows: int) -> list[int]:
    """The limits that a pace goes through where `rate` says what a limit brings."""
    limits: list[int] = []
    for _ in range(windows):
        limits.append(pace.limit)
        pace = pace.measured(rate(pace.limit))
    return limits


def test_it_begins_with_the_users_number_or_with_enough_for_known_slots_or_low() -> None:
    assert first_pace(None, None).limit == 16
    assert first_pace(8, None).limit == 16
    assert first_pace(256, None).limit == 512
    assert first_pace(100_000, None).limit == CEILING
    assert first_pace(8, 100) == Pace(100, 100, 100, 100)


def test_it_doubles_while_that_pays() -> None:
    assert run(first_pace(None, None), float, 10) == [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096]


@pytest.mark.parametrize("slots", [1, 10, 16, 40, 200, 1000])
def test_it_finds_an_engine_with_slots_within_a_few_windows_and_overshoots_little(slots: int) -> None:
    limits = run(first_pace(None, None), lambda limit: float(min(limit, slots)), 200)
    assert max(limits) <= max(32, 4 * slots)
    settled = limits[100:]
    assert sum(min(limit, slots) for limit in settled) >= 0.95 * slots * len(settled)


def test_a_higher_limit_that_does_not_pay_is_withdrawn_at_once() -> None:
    limits = run(first_pace(None, None), lambda _: 100.0, 100)
    assert set(limits) == {16, 32, 20}
    assert limits.count(16) > 80
    assert max(limits[2:]) == 20  # later trials are small


def test_a_limit_that_is_higher_than_it_need_be_comes_down_and_no_lower_than_it_began() -> None:
    high = Pace(1000, 1000, CEILING, 16)
    assert 100 <= run(high, lambda limit: float(min(limit, 100)), 1000)[-1] <= 125
    assert run(high, lambda _: 100.0, 1000)[-1] == 16


@pytest.mark.parametrize("seed", range(10))
def test_chance_does_not_carry_the_limit_away(seed: int) -> None:
    random = Random(seed)
    limits = run(first_pace(None, None), lambda _: random.gauss(100, 15), 20_000)
    assert sum(limits) / len(limits) < 100
    bound = run(first_pace(None, None), lambda limit: random.gauss(min(limit, 200), 0.15 * min(limit, 200)), 20_000)
    assert sum(min(limit, 200) for limit in bound) >= 0.8 * 200 * len(bound)
    assert sum(bound) / len(bound) < 1000


def test_overload_lowers_the_limit_by_three_tenths_once_per_round_trip() -> None:
    pace = Pace(100, 100, CEILING, 16)
    lowered = pace.overloaded(attempt=500, newest=600)
    assert lowered.limit == 70
    assert lowered.overloaded(attempt=599, newest=640) is lowered
    assert lowered.overloaded(attempt=601, newest=700).limit == 49


def test_after_overload_the_limit_rises_again_in_small_steps() -> None:
    pace = Pace(100, 100, CEILING, 16).overloaded(1, 2)
    limits = run(pace, float, 40)
    assert limits[0] == 70
    assert limits[-1] > 100
    assert all(after <= 1.25 * before + 1 for before, after in pairwise(limits))


signals = st.one_of(st.tuples(st.just("rate"), st.floats(0, 1e9)), st.tuples(st.just("full"), st.floats(0, 1e9)))


@given(st.one_of(st.none(), st.integers(1, 10_000)), st.one_of(st.none(), st.integers(1, 10_000)), st.lists(signals))
def test_the_limit_stays_between_one_and_the_ceiling(
    slots: int | None, most: int | None, story: list[tuple[str, float]]
) -> None:
    pace = first_pace(slots, most)
    for number, (signal, rate) in enumerate(story):
        before = pace
        pace = pace.measured(rate) if signal == "rate" else pace.overloaded(number + 1, number + 1)
        assert 1 <= pace.floor <= min(pace.settled, pace.limit) <= max(pace.settled, pace.limit) <= (most or CEILING)
        assert pace.limit <= 2 * before.limit
        if signal == "full":
            assert pace.limit < before.limit or pace.limit == 1
