"""What passes between a server and its processes for heavy steps: frames whose `kind` says which struct they hold.

A step's frames bear its number. The server sends one of VALIDATE, FINALIZE and EXAMINE, then perhaps STOP; for EXAMINE
also GROWN, again and again. The process sends PROGRESS, then one of DONE, STOPPED and FAILED.
"""

import traceback
from enum import IntEnum
from typing import TypeVar

import msgspec
from msgspec import Struct

from batchyard.domain import errors
from batchyard.domain.batch import Form
from batchyard.domain.errors import BatchyardError, Unavailable
from batchyard.pipeline.heavy import Terms

T = TypeVar("T")


class Kind(IntEnum):
    VALIDATE = 1
    FINALIZE = 2
    EXAMINE = 3
    STOP = 4
    GROWN = 5
    PROGRESS = 6
    DONE = 7
    STOPPED = 8
    FAILED = 9


class ToValidate(Struct, frozen=True, kw_only=True):
    """An input to be checked; `place` is where it lies while it grows, of one that is examined."""

    input_path: str
    place: str = ""
    plan_path: str
    run_id: str
    terms: Terms
    dedupe: bool
    max_line_bytes: int


class ToFinalize(Struct, frozen=True, kw_only=True):
    """Result files to be written, from the plan and the journal in their folders."""

    folder: str
    journal_folder: str
    input_path: str
    output: str
    errors: str | None
    run_id: str
    terms: Terms
    form: Form
    by_model: bool = False


class Grown(Struct, frozen=True):
    """How much of a growing file can be read; whether that is all."""

    readable: int
    whole: bool


class Progress(Struct, frozen=True):
    """Bytes and lines read, or lines written."""

    bytes: int
    lines: int


class Trouble(Struct, frozen=True, kw_only=True):
    """An error of ours by its class, or one of the system by its number, or one that nobody foresaw by its place."""

    name: str = ""
    message: str
    remedy: str = ""
    reason: str | None = None
    errno: int = 0


encode = msgspec.msgpack.encode


def decode(data: bytes, kind: type[T]) -> T:
    return msgspec.msgpack.decode(data, type=kind)


def trouble_of(error: BaseException) -> Trouble:
    """What an error is on the wire."""
    if isinstance(error, BatchyardError):
        return Trouble(name=type(error).__name__, message=error.message, remedy=error.remedy, reason=error.reason)
    if isinstance(error, OSError) and error.errno:
        return Trouble(name="OSError", message=error.strerror or str(error), errno=error.errno)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return Trouble(message=f"{type(error).__name__}: {error}{where}")


def error_of(trouble: Trouble) -> Exception:
    """The error that a process met, for whoever asked for the step."""
    if trouble.name == "OSError":
        return OSError(trouble.errno, trouble.message)
    found = getattr(errors, trouble.name, None) if trouble.name else None
    if isinstance(found, type) and issubclass(found, BatchyardError):
        return found(trouble.message, remedy=trouble.remedy, reason=trouble.reason)
    return Unavailable(f"A process for large files failed: {trouble.message}.")
