"""What a run is told to do: plain values, checked where they enter."""

from enum import StrEnum

from msgspec import Struct


class OnInvalidLine(StrEnum):
    """What a line that cannot run does: it stops the run before anything ran, or becomes an error line."""

    ABORT = "abort"
    ERROR_LINE = "error-line"


class Order(StrEnum):
    """The order of the output's lines."""

    INPUT = "input"
    COMPLETION = "completion"


class DispatchSettings(Struct, frozen=True, kw_only=True):
    """How requests go out.

    `max_inflight` None: the dispatcher finds it. `retries` counts attempts after the first. Backoff doubles from
    `backoff_seconds` up to `backoff_ceiling_seconds`, with jitter; a server's Retry-After goes before it, up to
    `retry_after_ceiling_seconds`. `engine_down_seconds` is how long an engine that cannot be reached is waited for
    without it costing any line a retry.
    """

    max_inflight: int | None = None
    retries: int = 5
    request_timeout_seconds: float = 600.0
    backoff_seconds: float = 0.5
    backoff_ceiling_seconds: float = 30.0
    retry_after_ceiling_seconds: float = 300.0
    engine_down_seconds: float = 600.0
