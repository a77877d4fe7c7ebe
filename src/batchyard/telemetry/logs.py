"""Logs are events with fields: `logging.getLogger(__name__).warning("engine_restarted", extra={"engine": "vllm"})`.

Modules log through the standard library under the name of the package; only the command line sets it up. What an event
belongs to (a call, the walk of a batch) is said once, with `about` and `note`, and stands in every event inside.
"""

import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

ROOT = "batchyard"
SERVER = "uvicorn"
"""The web server's own events: only what goes wrong is shown."""

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_about: ContextVar[dict[str, Any] | None] = ContextVar("batchyard_about", default=None)


class LogFormat(StrEnum):
    """For people, or for programs that gather logs: one JSON object per line."""

    TEXT = "text"
    JSON = "json"


@contextmanager
def about(**fields: Any) -> Generator[None]:
    """Every event inside has these fields, in tasks that are started inside, too."""
    token = _about.set((_about.get() or {}) | fields)
    try:
        yield
    finally:
        with suppress(ValueError):  # a coroutine that was thrown away ends elsewhere: there is nothing to take back
            _about.reset(token)


def note(**fields: Any) -> None:
    """From now on, every event inside the innermost `about` has these fields as well; without one, none has."""
    inside = _about.get()
    if inside is not None:
        inside.update(fields)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    own = {name: value for name, value in vars(record).items() if name not in _ORDINARY}
    return own | {name: value for name, value in (_about.get() or {}).items() if name not in own}


class EventFormatter(logging.Formatter):
    """`2026-11-20 10:11:12 WARNING engines.managed engine_restarted engine="vllm" attempt=2`."""

    def format(self, record: logging.LogRecord) -> str:
        where = record.name.removeprefix(ROOT + ".")
        words = [self.formatTime(record, "%Y-%m-%d %H:%M:%S"), record.levelname, where, record.getMessage()]
        words += [f"{name}={json.dumps(value, default=str)}" for name, value in _fields(record).items()]
        text = " ".join(words)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """`{"time":"2026-11-20T10:11:12.123+00:00","level":"warning","logger":"...","event":"engine_restarted",...}`."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        fields = {name: value for name, value in _fields(record).items() if name not in event}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(event | fields, default=str)


def set_up(level: str, stream: TextIO | None = None, form: LogFormat = LogFormat.TEXT) -> None:
    """Show the package's events from `level` (`debug`, `info`, `warning`, `error`) on the stream, standard error."""
    shown = logging.StreamHandler(stream or sys.stderr)
    shown.setFormatter(JsonFormatter() if form is LogFormat.JSON else EventFormatter())
    for name, least in ((ROOT, level.upper()), (SERVER, "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [shown]
        logger.setLevel(least)
        logger.propagate = False
