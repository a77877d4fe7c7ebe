"""A call that failed, as the OpenAI wire says it: one table from our codes to status, type and code words.

    {"error": {"message": str, "type": str, "param": str | null, "code": str | null}}

All four keys are always there. Under Azure's paths the code words are Azure's. An `x-should-retry: false` keeps the
official clients from sending a call again that cannot heal: they retry 409 and 429 by themselves.
"""

import math
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from batchyard.dialects.refusal import Refusal
from batchyard.domain.batch import Form
from batchyard.domain.errors import BatchyardError, RateLimited


class _Row(Struct, frozen=True):
    status: int
    type: str
    word: str | None
    azure: str | None
    heals: bool | None = None
    retry_after_seconds: float | None = None


_INVALID = "invalid_request_error"

# Our code -> status, type, OpenAI's code word where the error has no finer reason, Azure's code word.
TABLE: Mapping[str, _Row] = {
    "invalid": _Row(400, _INVALID, None, "invalidPayload"),
    "bad_lines": _Row(400, _INVALID, None, "jsonlValidationFailed"),
    "unauthorized": _Row(401, _INVALID, None, "401"),
    "forbidden": _Row(403, "permission_error", None, "forbidden"),
    "not_found": _Row(404, _INVALID, None, "notFound"),
    "conflict": _Row(409, _INVALID, None, "conflict", heals=False),
    "too_large": _Row(413, _INVALID, "file_too_large", "invalidPayload"),
    "quota_exceeded": _Row(429, "insufficient_quota", "insufficient_quota", "quotaExceeded", heals=False),
    "rate_limited": _Row(429, "requests", "rate_limit_exceeded", "tooManyRequests"),
    "unsupported": _Row(400, _INVALID, "unsupported", "OperationNotSupported"),
    "unavailable": _Row(503, "server_error", None, "serviceUnavailable", retry_after_seconds=1),
}
# Reasons that have a word of their own under Azure's paths.
_AZURE_WORDS: Mapping[str, str] = {
    "model_not_found": "DeploymentNotFound",
    "token_limit_exceeded": "token_limit_exceeded",
}
_INTERNAL = _Row(500, "server_error", None, "internalFailure")


def refusal(error: Exception, form: Form = Form.OPENAI) -> Refusal:
    """The error answer of a call that raised `error`. What is not ours is never shown."""
    if not isinstance(error, BatchyardError):
        return _refuse(_INTERNAL, "The server failed while it worked on this call.", None, None, form)
    row = TABLE.get(error.code, _INTERNAL)
    if isinstance(error, RateLimited):
        return _rate_limited(row, error, form)
    return _refuse(row, str(error), error.param, error.reason or row.word, form)


def unknown_url(method: str, path: str, form: Form) -> Refusal:
    """No such path."""
    if form is Form.AZURE:
        return Refusal(404, envelope("Resource not found", _INVALID, None, "404"))
    return Refusal(404, envelope(f"Unknown request URL: {method} {path}.", _INVALID, None, "unknown_url"))


def wrong_method(method: str, path: str) -> Refusal:
    """The path is there, but not for this method."""
    return Refusal(405, envelope(f"{path} does not take {method}.", _INVALID, None, None))


def outside(size: int) -> Refusal:
    """A range that no byte of the file lies in."""
    message = f"The file has {size} bytes; the range lies outside of them."
    return Refusal(416, envelope(message, _INVALID, None, "invalid_range"))


def envelope(message: str, kind: str, param: str | None, word: str | None) -> bytes:
    """The error object of the wire."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": word}})


def _rate_limited(row: _Row, error: RateLimited, form: Form) -> Refusal:
    """Clients wait as long as the header in milliseconds says; the one in seconds is for those that do not know it."""
    wait = error.retry_after_seconds
    return Refusal(
        row.status,
        envelope(str(error), error.kind, None, row.azure if form is Form.AZURE else row.word),
        heals=wait is not None,
        retry_after_seconds=None if wait is None else math.ceil(wait),
        retry_after_milliseconds=None if wait is None else math.ceil(wait * 1000),
    )


def _refuse(row: _Row, message: str, param: str | None, word: str | None, form: Form) -> Refusal:
    shown = _AZURE_WORDS.get(word or "", row.azure) if form is Form.AZURE else word
    return Refusal(row.status, envelope(message, row.type, param, shown), row.heals, row.retry_after_seconds)
