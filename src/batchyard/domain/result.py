"""What becomes of a request: a reply to each attempt, one result at the end."""

from enum import IntEnum
from typing import TypeAlias

import msgspec
from msgspec import Struct


class Outcome(IntEnum):
    """What became of a line. The five sum to the number of lines; the codes are those of the journal's index."""

    PENDING = 0
    SUCCEEDED = 1
    ERRORED = 2
    CANCELLED = 3
    EXPIRED = 4


class Usage(Struct, frozen=True, gc=False):
    """Tokens of one answer, as the engine counted them; `cached_tokens` of the input were not computed again."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


NO_USAGE = Usage()


class Answer(Struct, frozen=True, gc=False):
    """An HTTP-shaped answer: 2xx is a success, anything else an error that the engine itself explains in `body`.

    `body` is a JSON value in UTF-8, or empty where the engine sent none.
    """

    status: int
    body: bytes
    request_id: str = ""
    usage: Usage = NO_USAGE
    retry_after_seconds: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Fault(IntEnum):
    """Why there is no answer."""

    FINAL = 0
    """Asking again cannot help."""
    LOST = 1
    """The connection broke, the answer was broken, or it did not come in time."""
    CRASHED = 2
    """The engine's process died with this request on board."""
    DOWN = 3
    """The engine could not be reached: the request was never taken."""
    OVERLOADED = 4
    """The engine said that it is full."""
    CANCELLED = 5
    """The run was stopped before the line could run."""


class Failure(Struct, frozen=True, gc=False):
    """No answer exists. `code` is stable (`request_timeout`, `connection_lost`, ...), `message` fit for the user."""

    code: str
    message: str
    fault: Fault = Fault.FINAL
    retry_after_seconds: float | None = None


Reply: TypeAlias = Answer | Failure
"""What one attempt brought."""


class Result(Struct, frozen=True, gc=False):
    """The one outcome of a line. `custom_id` is None only for a line that had none; `seconds` is the last attempt's."""

    line: int
    custom_id: str | None
    outcome: Outcome
    reply: Reply
    attempts: int = 1
    seconds: float = 0.0


class _TokenDetails(Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _WireUsage(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _TokenDetails | None = None
    completion_tokens_details: _TokenDetails | None = None
    input_tokens_details: _TokenDetails | None = None
    output_tokens_details: _TokenDetails | None = None


class _WithUsage(Struct, gc=False):
    usage: _WireUsage | None = None


_decode_usage = msgspec.json.Decoder(_WithUsage).decode


def usage_of(body: bytes) -> Usage:
    """Read `usage` from an OpenAI-shaped answer, in either spelling (chat or responses).

    An answer whose usage is absent or of another shape counts no tokens. Raises msgspec.DecodeError where `body` is not
    a JSON object at all, so that one pass both counts and checks.
    """
    try:
        usage = _decode_usage(body).usage
    except msgspec.ValidationError:
        return NO_USAGE
    if usage is None:
        return NO_USAGE
    into = usage.prompt_tokens_details or usage.input_tokens_details
    out = usage.completion_tokens_details or usage.output_tokens_details
    return Usage(
        usage.prompt_tokens or usage.input_tokens or 0,
        usage.completion_tokens or usage.output_tokens or 0,
        (into.cached_tokens or 0) if into else 0,
        (out.reasoning_tokens or 0) if out else 0,
    )
