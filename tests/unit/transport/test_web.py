import random

import pytest

from batchyard.transport import web
from batchyard.transport.web import Patience


class At:
    """A clock that stands still."""

    def now(self) -> float:
        return 1_000_000_000.0  # Sun, 09 Sep 2001 01:46:40 GMT


def test_what_may_be_secret_is_not_shown() -> None:
    assert web.redacted("https://ann:pw@host:8/a/b?sig=1#x") == "https://host:8/a/b?..."
    assert web.redacted("http://host/a") == "http://host/a"


@pytest.mark.parametrize(
    ("place", "scheme"),
    [("https://h/x", "https"), ("S3://b/x", "s3"), ("a/b.jsonl", None), ("C://x", "c"), ("-", None), ("a:b", None)],
)
def test_addresses_are_told_from_paths(place: str, scheme: str | None) -> None:
    assert web.scheme_of(place) == scheme


def test_retry_after_is_read_in_both_forms() -> None:
    assert web.retry_after_seconds("7") == 7
    assert web.retry_after_seconds("Sun, 09 Sep 2001 01:47:40 GMT", At()) == 60
    assert web.retry_after_seconds("Sun, 09 Sep 2001 01:40:00 GMT", At()) == 0
    assert web.retry_after_seconds("soon") is None
    assert web.retry_after_seconds(None) is None


def test_waits_grow_with_failures_up_to_a_ceiling() -> None:
    patience, rng = Patience(backoff_seconds=1, backoff_ceiling_seconds=8), random.Random(2)
    for failures, full in [(1, 1), (2, 2), (3, 4), (4, 8), (50, 8)]:
        assert full / 2 <= patience.wait_seconds(failures, None, rng) <= full
    assert patience.wait_seconds(1, 20, rng) == 20
    assert patience.wait_seconds(1, 1e9, rng) == patience.retry_after_ceiling_seconds


def test_a_wait_ends_when_it_should() -> None:
    slept: list[float] = []
    web.pause(60, should_stop=lambda: len(slept) == 3, sleep=slept.append)
    assert len(slept) == 3


def test_the_environment_names_the_proxy_but_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert web.open_pool("https://host/x").proxy is not None
    assert web.open_pool("http://127.0.0.1:8/x").proxy is None
