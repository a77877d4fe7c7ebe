"""The contract of a line dialect: the lines of one wire, to and from the domain. Pure: bytes in, bytes out."""

from typing import Protocol

from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.domain.result import Result


class LineDialect(Protocol):
    """Reads the input lines and writes the result lines of one wire.

    An instance is made for one run: it knows the run's own model, the names it may use, and the limits.
    """

    name: str
    unique_ids: bool
    """Whether a second use of a custom_id is an error on this wire."""
    needs_lines: bool
    """Whether a result cannot be told without its input line."""
    errors_apart: bool
    """Whether results that are no success have a file of their own on this wire's services."""

    def read(self, number: int, line: bytes) -> Line | LineError | Result:
        """Check one line (without its newline) and describe it for the plan.

        A LineError makes the file invalid (or, where the user asked for it, an error line). A Result is an error line
        in any case: some tools answer a bad line instead of refusing the file. Its `line` is not yet known and is -1.
        """
        ...

    def request(self, place: int, line: bytes) -> Request:
        """The request of a line that `read` accepted; `place` is its place in the plan."""
        ...

    def custom_id(self, line: bytes) -> str | None:
        """The id of a line, or None where it has none or cannot be read."""
        ...

    def is_error(self, written: bytes) -> bool:
        """Whether a line that `write` gave is no success. Asked only where errors do not stand apart."""
        ...

    def error(self, error: LineError) -> Result:
        """The error line of a line that cannot run."""
        ...

    def told(self, result: Result, line: bytes = b"") -> Result:
        """The result as this wire tells it: an answer in its own words, or as an error where it has no words for it.

        `line` is the input line, where the dialect needs it.
        """
        ...

    def write(self, result: Result, line: bytes = b"") -> bytes:
        """The output line of a result that `told` gave: one JSON object in ASCII, ended by a newline."""
        ...
