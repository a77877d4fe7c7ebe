import pytest

from batchyard.pipeline.pacing import WINDOW_ANSWERS, Pacing
from batchyard.policy.pace import Pace

changes: list[int] = []


@pytest.fixture(autouse=True)
def no_changes_yet() -> None:
    changes.clear()


def answers(pacing: Pacing, count: int, *, every: float, start: float, inflight: int) -> float:
    """Count answers at a steady rate; returns the time of the last."""
    now = start
    for _ in range(count):
        now += every
        if pacing.answered(now, inflight):
            changes.append(pacing.limit)
    return now


def test_a_limit_that_is_not_used_in_full_is_not_raised() -> None:
    pacing = Pacing(Pace(40, 40, 1000, 1), 0.0)
    answers(pacing, 1000, every=0.1, start=0.0, inflight=10)
    assert pacing.limit == 40
    assert changes == []


def test_a_limit_that_is_used_in_full_is_raised_after_a_window() -> None:
    pacing = Pacing(Pace(40, 40, 1000, 1), 0.0)
    answers(pacing, 39, every=0.1, start=0.0, inflight=39)
    assert pacing.limit == 40
    assert pacing.answered(4.0, 39)
    assert pacing.limit == 80


def test_answers_that_belong_to_the_old_limit_are_not_measured() -> None:
    """They come as quickly as before; those of the new limit twice as quickly: so it pays."""
    pacing = Pacing(Pace(40, 40, 1000, 1), 0.0)
    now = answers(pacing, 40, every=0.1, start=0.0, inflight=39)
    now = answers(pacing, 39, every=0.1, start=now, inflight=79)
    answers(pacing, 81, every=0.05, start=now, inflight=79)
    assert pacing.limit == 160


def test_a_window_of_very_quick_answers_stays_open_for_longer() -> None:
    pacing = Pacing(Pace(1, 1, 1000, 1), 0.0)
    answers(pacing, 90 * WINDOW_ANSWERS, every=0.00001, start=0.0, inflight=0)
    assert pacing.limit == 1
    answers(pacing, 2 * WINDOW_ANSWERS, every=0.1, start=0.1, inflight=0)
    assert pacing.limit > 1


def test_overload_counts_once_for_all_that_were_under_way() -> None:
    pacing = Pacing(Pace(100, 100, 1000, 1), 0.0)
    first, *others = [pacing.attempt() for _ in range(100)]
    assert pacing.overloaded(first, 99)
    assert not any(pacing.overloaded(attempt, 50) for attempt in others)
    assert pacing.limit == 70
    assert pacing.overloaded(pacing.attempt(), 50)
    assert pacing.limit == 49
