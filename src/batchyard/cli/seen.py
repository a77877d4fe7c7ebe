"""A batch as some server shows it: its state, counts and end. Pure. Servers differ: nothing is taken for granted."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from msgspec import Struct

from batchyard.cli.remote import time_of

COMPLETED = frozenset({"completed", "done", "succeeded", "success", "finished", "ended"})
FAILED = frozenset({"failed", "error", "errored", "invalid"})
EXPIRED = frozenset({"expired", "timeout", "timed_out"})
CANCELLED = frozenset({"cancelled", "canceled", "aborted"})


class End(IntEnum):
    """How a batch ended, as the exit code of the commands that wait for it."""

    ANSWERED = 0
    FAILED_LINES = 3
    EXPIRED = 4
    CANCELLED = 5
    FAILED = 6


class Counts(Struct, frozen=True):
    """Lines by what became of them, as far as the server says."""

    total: int = 0
    completed: int = 0
    failed: int = 0


def status_of(batch: Mapping[str, Any]) -> str:
    """The server's own word."""
    return str(batch.get("status") or "unknown")


def end_of(batch: Mapping[str, Any]) -> End | None:
    """How a batch ended; None while it has not. Of words that nobody knows, the times decide."""
    status = status_of(batch).lower()
    if status in COMPLETED or (status not in FAILED | EXPIRED | CANCELLED and batch.get("completed_at")):
        return End.FAILED_LINES if counts_of(batch).failed else End.ANSWERED
    for end, words, time in (
        (End.EXPIRED, EXPIRED, "expired_at"),
        (End.CANCELLED, CANCELLED, "cancelled_at"),
        (End.FAILED, FAILED, "failed_at"),
    ):
        if status in words or batch.get(time):
            return end
    return None


def counts_of(batch: Mapping[str, Any]) -> Counts:
    found: Any = batch.get("request_counts") or {}
    numbers = (found.get(name) for name in ("total", "completed", "failed"))
    return Counts(*(number if isinstance(number, int) else 0 for number in numbers))


def lines_of(batch: Mapping[str, Any]) -> str:
    """`412/700, 3 failed`; empty where the server counts nothing."""
    counts = counts_of(batch)
    if not counts.total:
        return ""
    return f"{counts.completed + counts.failed:,}/{counts.total:,}" + (
        f", {counts.failed:,} failed" if counts.failed else ""
    )


def errors_of(batch: Mapping[str, Any]) -> list[str]:
    """Why a batch could not run, a line for each reason."""
    errors: Any = batch.get("errors") or {}
    found: list[Any] = errors.get("data") or []
    return [_error(error) for error in found]


def facts_of(batch: Mapping[str, Any]) -> dict[str, str]:
    """Everything about a batch that people want to know."""
    metadata: Any = batch.get("metadata") or {}
    return {
        "id": str(batch.get("id", "")),
        "status": status_of(batch),
        "lines": lines_of(batch),
        "model": str(batch.get("model") or ""),
        "endpoint": str(batch.get("endpoint") or ""),
        "created": time_of(batch.get("created_at")),
        "started": time_of(batch.get("in_progress_at")),
        "ended": next((time for name in _ENDS if (time := time_of(batch.get(name)))), ""),
        "until": time_of(batch.get("expires_at")),
        "input": str(batch.get("input_file_id") or ""),
        "output": str(batch.get("output_file_id") or ""),
        "errors": str(batch.get("error_file_id") or ""),
        "tokens": _tokens(batch),
        "retry of": str(batch.get("retry_of") or ""),
        "metadata": ", ".join(f"{key}={value}" for key, value in metadata.items()),
    }


_ENDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")


def _tokens(batch: Mapping[str, Any]) -> str:
    usage: Any = batch.get("usage") or {}
    if not usage.get("total_tokens"):
        return ""
    return f"{usage.get('input_tokens') or 0:,} in, {usage.get('output_tokens') or 0:,} out"


def _error(error: Mapping[str, Any]) -> str:
    where = f"line {error['line']}: " if error.get("line") else ""
    param = f"{error['param']}: " if error.get("param") else ""
    return f"{where}{param}{error.get('message') or error.get('code') or 'no reason given'}"
