"""When a delivery is tried again, for all that can come."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from batchyard.policy.delivery import DeliverySchedule, next_try

SCHEDULE = DeliverySchedule()
FIRST = 1_790_000_000


def tries(schedule: DeliverySchedule, seed: int) -> list[int]:
    """The times of all tries of a delivery that nobody ever takes; each fails at once."""
    random, times = Random(seed), [FIRST]
    while (due := next_try(len(times), FIRST, times[-1], schedule, random)) is not None:
        times.append(due)
    return times


@given(st.integers())
def test_a_delivery_is_tried_often_at_first_and_for_72_hours(seed: int) -> None:
    times = tries(SCHEDULE, seed)
    assert times == sorted(times) and times[-1] == FIRST + 72 * 3_600
    assert 5 <= sum(1 for time in times if time < FIRST + 300) <= 10
    assert len(times) < 100


@given(st.integers(1, 10_000), st.integers(0, 2 * SCHEDULE.give_up_seconds), st.integers())
def test_a_pause_is_within_its_bound(attempts: int, age: int, seed: int) -> None:
    due = next_try(attempts, FIRST, FIRST + age, SCHEDULE, Random(seed))
    if age >= SCHEDULE.give_up_seconds:
        assert due is None
        return
    bound = min(SCHEDULE.first_pause_seconds * 2.0 ** min(attempts - 1, 99), SCHEDULE.longest_pause_seconds)
    assert due is not None and FIRST + age < due <= FIRST + age + bound + 1
    assert due - FIRST - age >= bound / 2 or due == FIRST + SCHEDULE.give_up_seconds


def test_receivers_that_come_back_do_not_meet_everything_at_once() -> None:
    random = Random(1)
    assert len({next_try(12, FIRST, FIRST, SCHEDULE, random) for _ in range(100)}) > 50
