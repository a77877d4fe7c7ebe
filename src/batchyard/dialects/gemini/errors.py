"""A call that failed, as the Gemini wire says it: one table from our codes to status, status word and details.

    {"error": {"code": 400, "message": str, "status": "INVALID_ARGUMENT", "details": [...]}}

The details, where there are any, name the field that was wrong, say that a key is not known, or how long to wait.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from batchyard.dialects.gemini.faults import told
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Rpc, Unfit
from batchyard.dialects.refusal import Refusal
from batchyard.domain.errors import BadLines, BatchyardError, RateLimited
from batchyard.domain.result import Answer, Failure, Fault, Reply

_TYPES = "type.googleapis.com/google.rpc."

HTTP: Mapping[Rpc, int] = {
    Rpc.CANCELLED: 499,
    Rpc.INVALID_ARGUMENT: 400,
    Rpc.DEADLINE_EXCEEDED: 504,
    Rpc.NOT_FOUND: 404,
    Rpc.ALREADY_EXISTS: 409,
    Rpc.PERMISSION_DENIED: 403,
    Rpc.RESOURCE_EXHAUSTED: 429,
    Rpc.FAILED_PRECONDITION: 400,
    Rpc.ABORTED: 409,
    Rpc.UNIMPLEMENTED: 501,
    Rpc.INTERNAL: 500,
    Rpc.UNAVAILABLE: 503,
    Rpc.UNAUTHENTICATED: 401,
}


class _Row(Struct, frozen=True):
    rpc: Rpc
    reason: str | None = None
    heals: bool | None = None
    retry_after_seconds: float | None = None


# Our code -> status word, the reason in its details, and when asking again could help.
TABLE: Mapping[str, _Row] = {
    "invalid": _Row(Rpc.INVALID_ARGUMENT),
    "bad_lines": _Row(Rpc.INVALID_ARGUMENT),
    "unauthorized": _Row(Rpc.PERMISSION_DENIED),
    "forbidden": _Row(Rpc.PERMISSION_DENIED),
    "not_found": _Row(Rpc.NOT_FOUND),
    "conflict": _Row(Rpc.ABORTED, heals=False),
    "too_large": _Row(Rpc.INVALID_ARGUMENT),
    "quota_exceeded": _Row(Rpc.RESOURCE_EXHAUSTED, heals=False),
    "rate_limited": _Row(Rpc.RESOURCE_EXHAUSTED),
    "unsupported": _Row(Rpc.UNIMPLEMENTED),
    "unavailable": _Row(Rpc.UNAVAILABLE, retry_after_seconds=1),
}
# Reasons that the wire has a word of its own for.
_BY_REASON: Mapping[str, _Row] = {
    "invalid_api_key": _Row(Rpc.INVALID_ARGUMENT, "API_KEY_INVALID"),
    "name_taken": _Row(Rpc.ALREADY_EXISTS, heals=False),
}
_INTERNAL = _Row(Rpc.INTERNAL)
_UPSTREAM = frozenset({401, 403, 407})
"""What an upstream says to a key of ours."""
_ANSWERED: Mapping[int, Rpc] = {
    404: Rpc.NOT_FOUND, 408: Rpc.DEADLINE_EXCEEDED, 409: Rpc.ABORTED, 429: Rpc.RESOURCE_EXHAUSTED,
    501: Rpc.UNIMPLEMENTED, 502: Rpc.UNAVAILABLE, 503: Rpc.UNAVAILABLE, 504: Rpc.DEADLINE_EXCEEDED,
}  # fmt: skip


def refusal(error: Exception) -> Refusal:
    """The error answer of a call that raised `error`. What is not ours is never shown."""
    if isinstance(error, Unfit):
        return Refusal(HTTP[error.code], envelope(error.code, str(error), _violation(error.field, error.message)))
    if not isinstance(error, BatchyardError):
        return Refusal(500, envelope(Rpc.INTERNAL, "The server failed while it worked on this call."))
    row = _BY_REASON.get(error.reason or "") or TABLE.get(error.code, _INTERNAL)
    details = _violation(error.param or "", error.message) if row.rpc is Rpc.INVALID_ARGUMENT else []
    if row.reason is not None:
        details = [{"@type": f"{_TYPES}ErrorInfo", "reason": row.reason, "domain": "googleapis.com"}]
    if isinstance(error, RateLimited):
        return _rate_limited(error)
    if isinstance(error, BadLines):
        return _bad_lines(error)
    return Refusal(HTTP[row.rpc], envelope(row.rpc, str(error), details), row.heals, row.retry_after_seconds)


def unknown_url(method: str, path: str) -> Refusal:
    """No such path."""
    return Refusal(404, envelope(Rpc.NOT_FOUND, f"Unknown request URL: {method} {path}."))


def wrong_method(method: str, path: str) -> Refusal:
    """The path is there, but not for this method."""
    return Refusal(405, envelope(Rpc.UNIMPLEMENTED, f"{path} does not take {method}.", code=405))


def outside(size_bytes: int) -> Refusal:
    """A range that lies outside of a file."""
    message = f"The range lies outside of the file, which has {size_bytes} bytes."
    return Refusal(416, envelope(Rpc.INVALID_ARGUMENT, message, code=416))


def refused(reply: Reply) -> Refusal:
    """A model did not answer, or with an error."""
    if isinstance(reply, Failure):
        rpc = _rpc_of(reply)
        wait = reply.retry_after_seconds or (1 if rpc is Rpc.UNAVAILABLE else None)
        heals = False if reply.fault is Fault.FINAL else None
        return Refusal(HTTP[rpc], envelope(rpc, reply.message), heals, wait)
    if reply.status in _UPSTREAM:
        message = f"The model's upstream refused our credentials with status {reply.status}. Ask who runs this server."
        return Refusal(500, envelope(Rpc.INTERNAL, message), heals=False)
    rpc = rpc_of(reply)
    return Refusal(HTTP[rpc], envelope(rpc, said_by(reply)), retry_after_seconds=reply.retry_after_seconds)


def broken_off(reply: Reply | None) -> bytes:
    """Why an answer ended in the middle, as an envelope; None: the server stopped."""
    if reply is None:
        return envelope(Rpc.UNAVAILABLE, "The server stopped before the answer was whole.")
    return refused(reply).body


def rpc_of(answer: Answer) -> Rpc:
    """What an error that answers a request is called here."""
    if names_no_file(answer):
        return Rpc.PERMISSION_DENIED
    return _ANSWERED.get(answer.status, Rpc.INVALID_ARGUMENT if answer.status < 500 else Rpc.INTERNAL)


def names_no_file(answer: Answer) -> bool:
    """Whether a request named a file that its project has not: whose it is instead is never told."""
    return answer.status == 404 and b'"file_not_found"' in answer.body


def said_by(answer: Answer) -> str:
    """What an engine says about a request that it refused."""
    try:
        error: Any = msgspec.json.decode(answer.body)["error"]
        return str(cast("Json", error)["message"]) if isinstance(error, dict) else str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        said = answer.body.decode("utf-8", "replace")[:1000]
        return said or f"The engine answered with status {answer.status}."


def envelope(rpc: Rpc, message: str, details: list[Json] | None = None, *, code: int | None = None) -> bytes:
    """The error object of the wire."""
    error: Json = {"code": code or HTTP[rpc], "message": message, "status": rpc.name}
    return msgspec.json.encode({"error": error | ({"details": details} if details else {})})


def _rpc_of(failure: Failure) -> Rpc:
    if failure.code == "request_timeout":
        return Rpc.DEADLINE_EXCEEDED
    return Rpc.INTERNAL if failure.fault is Fault.FINAL else Rpc.UNAVAILABLE


def _rate_limited(error: RateLimited) -> Refusal:
    wait = error.retry_after_seconds
    details: list[Json] = []
    if wait is not None:
        details = [{"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{math.ceil(wait)}s"}]
    return Refusal(
        429,
        envelope(Rpc.RESOURCE_EXHAUSTED, str(error), details),
        heals=wait is not None,
        retry_after_seconds=None if wait is None else math.ceil(wait),
        retry_after_milliseconds=None if wait is None else math.ceil(wait * 1000),
    )


def _bad_lines(error: BadLines) -> Refusal:
    violations = [
        {"field": each.param or "request", "description": f"line {each.number}: {each.message} {each.remedy}".strip()}
        for each in error.errors
    ]
    details: list[Json] = [{"@type": f"{_TYPES}BadRequest", "fieldViolations": violations}]
    return Refusal(400, envelope(Rpc.INVALID_ARGUMENT, told(error.errors, error.count), details))


def _violation(field: str, description: str) -> list[Json]:
    if not field:
        return []
    violation = {"field": field, "description": description}
    return [{"@type": f"{_TYPES}BadRequest", "fieldViolations": [violation]}]
