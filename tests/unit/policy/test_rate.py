"""Buckets: a minute's worth at once, and over any longer time no more than the limit says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.policy.rate import Bucket, Level

steps = st.lists(st.tuples(st.floats(0, 90), st.integers(1, 50)), max_size=60)


@given(st.integers(1, 600), steps)
def test_nobody_gets_more_than_a_bucket_and_what_the_time_brought(limit: int, steps: list[tuple[float, int]]) -> None:
    bucket, now, taken = Bucket.full(limit, 0.0), 0.0, 0
    for wait, amount in steps:
        now += wait
        if bucket.wait_seconds(amount, now) == 0:
            bucket.take(amount, now)
            taken += amount
        assert taken <= limit + limit * now / 60 + 1e-6
        assert 0 <= bucket.level(now).left <= limit


@given(st.integers(1, 600), steps)
def test_whoever_waits_as_long_as_he_is_told_gets_what_he_asks(limit: int, steps: list[tuple[float, int]]) -> None:
    bucket, now = Bucket.full(limit, 0.0), 0.0
    for _, amount in steps:
        amount = min(amount, limit)
        now += bucket.wait_seconds(amount, now) + 1e-6
        assert bucket.wait_seconds(amount, now) == pytest.approx(0, abs=1e-6)
        bucket.take(amount, now)


def test_more_than_a_bucket_holds_is_never_there() -> None:
    assert Bucket.full(10, 0.0).wait_seconds(11, 0.0) == float("inf")
    assert Bucket.full(0, 0.0).wait_seconds(1, 0.0) == float("inf")


def test_a_level_says_what_is_left_and_when_all_is_there_again() -> None:
    bucket = Bucket.full(60, 0.0)
    bucket.take(30, 0.0)
    assert bucket.level(0.0) == Level(60, 30, 30.0)
    assert bucket.level(10.0) == Level(60, 40, 20.0)
    assert bucket.level(100.0) == Level(60, 60, 0.0)


def test_a_debt_is_paid_by_time_and_what_is_given_back_is_there_at_once() -> None:
    bucket = Bucket.full(60, 0.0)
    bucket.take(90, 0.0)
    assert bucket.level(0.0).left == 0 and bucket.wait_seconds(1, 0.0) == 31.0
    bucket.take(-90, 0.0)
    assert bucket.level(0.0) == Level(60, 60, 0.0)


def test_time_that_runs_backwards_brings_nothing() -> None:
    bucket = Bucket.full(60, 100.0)
    bucket.take(60, 100.0)
    assert bucket.level(50.0).left == 0
    assert bucket.level(101.0).left == 1


def test_a_changed_limit_keeps_what_was_used() -> None:
    bucket = Bucket.full(60, 0.0)
    bucket.take(50, 0.0)
    bucket.set_limit(100, 0.0)
    assert bucket.level(0.0).left == 50
    bucket.set_limit(40, 0.0)
    assert bucket.level(0.0).left == 0
