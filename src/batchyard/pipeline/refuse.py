"""Why a batch cannot run: everything that ends it in `failed`, before any line has run."""

from collections.abc import Callable, Sequence

from batchyard.disk import Disk
from batchyard.domain.batch import Batch
from batchyard.domain.errors import QuotaExceeded
from batchyard.domain.line import LineError
from batchyard.pipeline.validate import Verdict

KEPT_ERRORS = 100
WHOLE_FILE = 0
"""The number of the line of an error that speaks of the file as a whole."""


class Refused(Exception):
    """The batch cannot run: `errors` are the first of `count`."""

    def __init__(self, errors: Sequence[LineError], count: int) -> None:
        super().__init__(f"{count} errors")
        self.errors = tuple(errors)
        self.count = count


def input_path(batch: Batch, disk: Disk, input_of: Callable[[str], str | None]) -> str:
    """Where the input of a batch lies. Raises Refused where there is no such file."""
    path = input_of(batch.input_blob) if batch.input_blob is not None else None
    if path is None or not disk.exists(path):
        raise _whole_file("invalid_request", f"Cannot find file {batch.input_file_id}.", "Upload it again.", "file_id")
    return path


def too_many(lines: int, most: int) -> None:
    """Raises Refused where a file has more lines than it may."""
    if lines > most:
        raise _whole_file("too_many_tasks", f"The input file has more than {most} requests.", "Split the file.")


def bad_lines(verdict: Verdict) -> None:
    """Raises Refused where a file has no lines, or lines that cannot run."""
    if verdict.error_count:
        raise Refused(verdict.errors[:KEPT_ERRORS], verdict.error_count)
    if not verdict.lines:
        raise _whole_file("empty_file", "The input file is empty.", "Write one request per line.")


def too_many_tokens(batch_tokens: int, most: int) -> Refused:
    """The batch alone needs more tokens than may be enqueued."""
    message = f"token_limit_exceeded: the batch needs {batch_tokens} enqueued tokens, but at most {most} are allowed."
    return _whole_file("token_limit_exceeded", message, "Split the file, or ask for shorter answers.")


def no_room(error: QuotaExceeded) -> Refused:
    """The tokens that the batch needs are in use."""
    return _whole_file("token_limit_exceeded", error.message, error.remedy)


def _whole_file(code: str, message: str, remedy: str, param: str | None = None) -> Refused:
    return Refused([LineError(number=WHOLE_FILE, code=code, message=message, remedy=remedy, param=param)], 1)
