"""Calls that fail, as one small tree.

    BatchyardError
      Invalid          the caller's input is wrong: says where and how to mend it
        BadLines       lines of an input file are wrong: all of them are named
      NotFound         the named thing does not exist
      Conflict         the thing is in a state that does not allow the call
      Unauthorized     we do not know who asks
      Forbidden        we know who asks, and they may not
      QuotaExceeded    the project has used up what it may keep or ask for
      RateLimited      the project asks for too much at once: a little later it may
      TooLarge         a limit on size, count or depth was passed
      Unsupported      we know what was asked and do not do it
      Unavailable      an engine, upstream or disk cannot serve now

A *request* that fails is never an exception: it is a `Failure` inside its `Result`.
"""

from collections.abc import Sequence
from typing import ClassVar

from batchyard.domain.line import LineError


class BatchyardError(Exception):
    """A call that failed, with a stable code and a message fit for the caller.

    `remedy` says in one sentence what the caller can do. `param` is a dotted path to what was wrong in the call.
    `reason` is the finer word, where there is one (`invalid_value`, `missing_required_parameter`): the codes that the
    OpenAI services put on the wire.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "", param: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.param = param
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class Invalid(BatchyardError):
    code = "invalid"


class BadLines(Invalid):
    """An input file with lines that cannot run; nothing ran."""

    code = "bad_lines"

    def __init__(self, message: str, errors: Sequence[LineError], *, count: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.errors = errors
        self.count = count


class NotFound(BatchyardError):
    code = "not_found"


class Conflict(BatchyardError):
    code = "conflict"


class Unauthorized(BatchyardError):
    code = "unauthorized"


class Forbidden(BatchyardError):
    code = "forbidden"


class QuotaExceeded(BatchyardError):
    code = "quota_exceeded"


class RateLimited(BatchyardError):
    """`kind` is what there is too much of: `requests` or `tokens`. Without a time to wait, waiting cannot help."""

    code = "rate_limited"

    def __init__(self, message: str, *, kind: str, retry_after_seconds: float | None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy, reason="rate_limit_exceeded")
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds


class TooLarge(BatchyardError):
    code = "too_large"


class Unsupported(BatchyardError):
    code = "unsupported"


class Unavailable(BatchyardError):
    code = "unavailable"
