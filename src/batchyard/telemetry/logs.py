"""Logs are events with fields: `logging.getLogger(__name__).warning("engine_restarted", extra={"engine": "vllm"})`.

Modules log through the standard library under the name of the package; only the command line sets it up.
"""

import json
import logging
import sys
from typing import TextIO

ROOT = "batchyard"

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class EventFormatter(logging.Formatter):
    """`2026-11-20 10:11:12 WARNING engines.managed engine_restarted engine="vllm" attempt=2`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _ORDINARY}
        where = record.name.removeprefix(ROOT + ".")
        words = [self.formatTime(record, "%Y-%m-%d %H:%M:%S"), record.levelname, where, record.getMessage()]
        words += [f"{name}={json.dumps(value, default=str)}" for name, value in fields.items()]
        text = " ".join(words)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Show the package's events from `level` (`debug`, `info`, `warning`, `error`) on the stream, standard error."""
    shown = logging.StreamHandler(stream or sys.stderr)
    shown.setFormatter(EventFormatter())
    logger = logging.getLogger(ROOT)
    logger.handlers[:] = [shown]
    logger.setLevel(level.upper())
    logger.propagate = False
