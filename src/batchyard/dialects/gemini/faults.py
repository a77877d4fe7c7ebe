"""Why the requests of a batch cannot run, in one sentence: clients of this wire show no list of errors."""

from collections.abc import Sequence

from batchyard.domain.line import LineError


def told(errors: Sequence[LineError], count: int) -> str:
    """The first of `count` faults, with its line, and how many more there are."""
    if not errors:
        return ""
    first, more = errors[0], count - 1
    where = f"line {first.number}: " if first.number else ""
    rest = f" And {more} more." if more > 0 else ""
    return f"{where}{first.message} {first.remedy}".strip() + rest
