from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.config import DispatchSettings
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.policy.retry import (
    NO_PAST,
    REQUEST_TIMEOUT,
    Again,
    Past,
    backoff,
    down_pause,
    is_overload,
    is_used_up,
    judge,
)

SETTINGS = DispatchSettings(retries=3)
FAULTS = [Failure("code", "message", fault) for fault in Fault]
replies = st.one_of(
    st.builds(
        Answer,
        st.integers(100, 599),
        st.just(b"{}"),
        retry_after_seconds=st.one_of(st.none(), st.floats(0, 1e6)),
    ),
    st.sampled_from(FAULTS),
)


def judged(reply: Reply, past: Past = NO_PAST, settings: DispatchSettings = SETTINGS) -> Again | Reply:
    return judge(reply, past, settings, Random(0))


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 504, 599])
def test_a_temporary_status_is_asked_again_and_pays_a_retry(status: int) -> None:
    verdict = judged(Answer(status, b""))
    assert isinstance(verdict, Again)
    assert verdict.past == Past(retries=1)
    assert not verdict.alone


@pytest.mark.parametrize("status", [200, 201, 301, 400, 401, 403, 404, 413, 422, 426])
def test_any_other_status_is_final(status: int) -> None:
    reply = Answer(status, b"")
    assert judged(reply) is reply


FULL = [Answer(429, b""), Answer(503, b""), Answer(529, b""), Failure("code", "message", Fault.OVERLOADED)]


@pytest.mark.parametrize("reply", FULL)
def test_a_full_engine_puts_a_line_off_for_a_long_while_before_that_costs_a_retry(reply: Reply) -> None:
    past, waited = NO_PAST, 0.0
    while isinstance(verdict := judged(reply, past), Again) and not verdict.past.retries:
        waited += verdict.after_seconds
        past = verdict.past
    assert waited > SETTINGS.overload_seconds * 0.9
    assert judged(reply, Past(retries=3, put_off_seconds=SETTINGS.overload_seconds)) is reply


def test_a_full_engine_is_given_up_even_where_no_wait_is_allowed() -> None:
    settings, past, attempts = DispatchSettings(retries=1, backoff_seconds=0.0), NO_PAST, 0
    while isinstance(verdict := judged(Answer(429, b""), past, settings), Again):
        past, attempts = verdict.past, attempts + 1
    assert 1000 < attempts < 10_000


@pytest.mark.parametrize(
    "body", [b'{"error":{"code":"insufficient_quota"}}', b'{"error":{"type":"insufficient_quota"}}']
)
def test_a_quota_that_is_used_up_is_told_from_a_full_engine(body: bytes) -> None:
    assert is_used_up(Answer(429, body))
    assert not is_used_up(Answer(429, b'{"error":{"code":"rate_limit_exceeded"}}'))
    assert not is_used_up(Answer(400, body))


@pytest.mark.parametrize("fault", [Fault.LOST])
def test_a_lost_attempt_pays_a_retry_until_none_is_left(fault: Fault) -> None:
    reply = Failure("code", "message", fault)
    assert judged(reply, Past(retries=2)) != reply
    assert judged(reply, Past(retries=3)) is reply


@pytest.mark.parametrize("fault", [Fault.FINAL, Fault.CANCELLED])
def test_what_cannot_get_better_is_final(fault: Fault) -> None:
    reply = Failure("code", "message", fault)
    assert judged(reply) is reply


def test_an_engine_out_of_reach_costs_no_retry_however_often() -> None:
    past = Past(retries=3, crashes=1)
    for _ in range(100):
        verdict = judged(Failure("engine_unreachable", "down", Fault.DOWN), past)
        assert isinstance(verdict, Again)
        past = verdict.past
    assert past == Past(retries=3, crashes=1)


def test_a_line_that_was_on_board_of_two_crashes_runs_alone_and_after_four_it_is_final() -> None:
    past, alone = NO_PAST, list[bool]()
    crash = Failure("engine_crashed", "gone", Fault.CRASHED)
    while isinstance(verdict := judged(crash, past), Again):
        past = verdict.past
        alone.append(verdict.alone)
    assert alone == [False, True, True]
    assert isinstance(verdict, Failure)
    assert (verdict.code, verdict.fault) == ("engine_crashed", Fault.FINAL)
    assert past.retries == 0


def test_a_suspect_stays_alone_when_it_fails_otherwise() -> None:
    for reply in (Answer(500, b""), Failure("engine_unreachable", "down", Fault.DOWN)):
        verdict = judged(reply, Past(crashes=2))
        assert isinstance(verdict, Again)
        assert verdict.alone


@given(st.floats(0, 1e9))
def test_a_server_is_left_alone_as_long_as_it_asks_within_reason(asked: float) -> None:
    verdict = judged(Answer(429, b"", retry_after_seconds=asked))
    assert isinstance(verdict, Again)
    least = min(asked, SETTINGS.retry_after_ceiling_seconds)
    assert least <= verdict.after_seconds <= least + SETTINGS.backoff_seconds


@given(st.integers(0, 10_000), st.integers())
def test_backoff_has_full_jitter_below_a_doubling_bound(times: int, seed: int) -> None:
    wait = backoff(times, SETTINGS, Random(seed))
    assert 0 <= wait <= min(SETTINGS.backoff_ceiling_seconds, SETTINGS.backoff_seconds * 2.0 ** min(times, 100))


def test_backoff_uses_all_of_its_range() -> None:
    random = Random(1)
    waits = [backoff(3, SETTINGS, random) for _ in range(1000)]
    assert min(waits) < 0.1
    assert max(waits) > 3.9
    assert 1.8 < sum(waits) / len(waits) < 2.2


@given(st.integers(0, 1000), st.one_of(st.none(), st.floats(0, 1e6)))
def test_an_engine_that_is_down_is_looked_for_at_least_every_few_seconds(times: int, asked: float | None) -> None:
    assert down_pause(Failure("x", "x", Fault.DOWN, asked), times, SETTINGS, Random(0)) <= 5


@given(st.lists(replies, min_size=30, max_size=30), st.integers(0, 5))
def test_every_line_ends_after_boundedly_many_attempts_that_were_taken(script: list[Reply], retries: int) -> None:
    past, taken = NO_PAST, 0
    for reply in script:
        taken += not (isinstance(reply, Failure) and reply.fault is Fault.DOWN)
        verdict = judged(reply, past, DispatchSettings(retries=retries, overload_seconds=0.0))
        if not isinstance(verdict, Again):
            break
        assert verdict.after_seconds >= 0
        past = verdict.past
    assert taken <= retries + 1 + 3
    assert past.retries <= retries


@pytest.mark.parametrize(
    ("reply", "full"),
    [
        (Answer(429, b""), True),
        (Answer(503, b""), True),
        (Failure(REQUEST_TIMEOUT, "late", Fault.LOST), True),
        (Failure("x", "x", Fault.OVERLOADED), True),
        (Answer(200, b""), False),
        (Answer(500, b""), False),
        (Failure("connection_lost", "x", Fault.LOST), False),
        (Failure("x", "x", Fault.DOWN), False),
    ],
)
def test_only_fullness_and_timeouts_are_overload(reply: Reply, full: bool) -> None:
    assert is_overload(reply) is full
