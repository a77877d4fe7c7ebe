"""Errors as the Gemini wire says them."""

from typing import Any

import msgspec
import pytest

from batchyard.dialects.gemini.errors import HTTP, TABLE, broken_off, refusal, refused
from batchyard.dialects.gemini.unfit import Rpc, Shapeless
from batchyard.domain import errors
from batchyard.domain.errors import BatchyardError, Invalid, RateLimited
from batchyard.domain.result import Answer, Failure, Fault


def told(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body)["error"]


def test_every_error_of_ours_has_a_row() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BatchyardError)}
    assert {kind.code for kind in kinds} - {"error"} == set(TABLE)


def test_every_number_has_a_status() -> None:
    assert set(HTTP) == set(Rpc)


def test_a_wrong_field_stands_in_the_details() -> None:
    for error in (Invalid("No.", param="a.b"), Shapeless("No.", "a.b")):
        said = told(refusal(error).body)
        assert said["status"] == "INVALID_ARGUMENT"
        assert said["details"][0]["fieldViolations"] == [{"field": "a.b", "description": "No."}]


def test_what_is_not_ours_is_never_shown() -> None:
    said = refusal(RuntimeError("a secret"))
    assert (said.status, told(said.body)["status"]) == (500, "INTERNAL")
    assert b"secret" not in said.body


def test_a_wait_that_cannot_help_is_not_named() -> None:
    said = refusal(RateLimited("Never.", kind="tokens", retry_after_seconds=None))
    assert (said.status, said.heals, "details" in told(said.body)) == (429, False, False)


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (Fault.FINAL, "bad", 500),
        (Fault.LOST, "request_timeout", 504),
        (Fault.CRASHED, "x", 503),
        (Fault.DOWN, "x", 503),
    ],
)
def test_a_failure_has_the_status_of_its_fault(fault: Fault, code: str, status: int) -> None:
    said = refused(Failure(code, "Why.", fault))
    assert (said.status, told(said.body)["code"], told(said.body)["message"]) == (status, status, "Why.")


@pytest.mark.parametrize("body", [b"", b"plain words", b"[1]", b'{"error": "plain words"}', b'{"error": {}}'])
def test_an_engine_may_say_anything(body: bytes) -> None:
    said = refused(Answer(422, body))
    assert said.status == 400 and told(said.body)["message"]


def test_a_server_that_stops_says_so() -> None:
    assert told(broken_off(None))["status"] == "UNAVAILABLE"
