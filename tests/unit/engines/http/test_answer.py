import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.result import Answer, Failure, Fault, Usage
from batchyard.engines.http.answer import reply_of
from batchyard.transport.http1 import Received


class Noon:
    """Wed, 18 Nov 2026 12:00:00 GMT."""

    def now(self) -> float:
        return 1795003200.0


def reply(status: int, body: bytes, **headers: str) -> Answer | Failure:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return reply_of(Received(status, named, body), Noon())


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    found = reply(status, body, **headers)
    assert isinstance(found, Answer)
    return found


def test_a_success_carries_body_request_id_and_usage() -> None:
    body = b'{"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}'
    assert reply(200, body, x_request_id="r-1") == Answer(200, body, "r-1", Usage(7, 3, 4))


def test_a_success_without_usage_counts_nothing() -> None:
    assert answer(200, b' {"x": "\xc3\xa4"}').usage == Usage()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":1} x',
        b"[1]",
        b'"text"',
        b"null",
        b"<html>",
        b'{"a":"\xff"}',
        b'{"usage":"x", broken',
        b"[" * 9999,
    ],
)
def test_a_success_that_is_no_json_object_is_lost(body: bytes) -> None:
    found = reply(200, body)
    assert isinstance(found, Failure)
    assert (found.code, found.fault) == ("bad_answer", Fault.LOST)


def test_an_error_keeps_the_engines_own_json() -> None:
    body = b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"x"}}'
    assert answer(400, body, x_request_id="r-2") == Answer(400, body, "r-2")
    assert answer(500, b'"text"').body == b'"text"'
    assert answer(500).body == b""


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"\xff\xfe nonsense", b"{broken", b"x" * 100_000])
def test_an_error_page_becomes_an_error_object_of_bounded_length(body: bytes) -> None:
    found = answer(502, body)
    error = json.loads(found.body)["error"]
    assert error["type"] == "server_error"
    assert error["message"][:4] == body.decode("utf-8", "replace")[:4]
    assert len(found.body) < 20_000


def test_a_redirect_says_where_to() -> None:
    assert "https://elsewhere/v1" in json.loads(answer(307, location="https://elsewhere/v1").body)["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "3"}, 3.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "Wed, 18 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry_after": "Wed, 18 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry_after": "60", "retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({}, None),
    ],
)
def test_a_server_says_when_to_come_back_in_several_ways(headers: dict[str, str], seconds: float | None) -> None:
    assert answer(429, b"{}", **headers).retry_after_seconds == seconds


@given(st.integers(100, 599), st.binary(max_size=50), st.binary(max_size=30), st.binary(max_size=30))
def test_no_answer_at_all_makes_it_raise(status: int, body: bytes, after: bytes, ms: bytes) -> None:
    found = reply_of(
        Received(status, {b"retry-after": after, b"retry-after-ms": ms, b"x-request-id": ms}, body), Noon()
    )
    assert not isinstance(found, Answer) or found.retry_after_seconds is None or found.retry_after_seconds >= 0
    if isinstance(found, Answer) and found.body:
        json.loads(found.body)
