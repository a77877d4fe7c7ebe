"""The end of a run in figures: a table for people, and the same as JSON.

The JSON's keys are the fields of `Summary`, described there.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from batchyard import __version__
from batchyard.cli.exits import Ended
from batchyard.cli.wording import amount, duration, rate
from batchyard.config import RunOptions
from batchyard.domain.errors import BatchyardError
from batchyard.pipeline.tally import Tally

if TYPE_CHECKING:
    from rich.console import Console


class Prices(Struct, frozen=True):
    """Of a million tokens, in the user's own currency; None where unknown."""

    input: float | None = None
    output: float | None = None

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        if self.input is None and self.output is None:
            return None
        return (input_tokens * (self.input or 0.0) + output_tokens * (self.output or 0.0)) / 1e6


class Lines(Struct, frozen=True, kw_only=True):
    """`total` of the input. `succeeded` and `errored` of the output, or so far where the run did not finish.

    `pending` have no answer yet. `resumed` were answered by an earlier run, `deduplicated` took the answer of another
    line, `invalid` could not run.
    """

    total: int
    succeeded: int
    errored: int
    pending: int
    resumed: int
    deduplicated: int
    invalid: int


class Tokens(Struct, frozen=True, kw_only=True):
    """Of this run, as the engine counted them; `cached` of the input were not computed again."""

    input: int
    output: int
    cached: int


class Speed(Struct, frozen=True, kw_only=True):
    """Per second while the engine was at work."""

    lines: float
    input_tokens: float
    output_tokens: float


class Trouble(Struct, frozen=True):
    """Why the run could not run or finish."""

    code: str
    message: str
    remedy: str = ""


class Summary(Struct, frozen=True, kw_only=True):
    """One run.

    `complete` is false where it was stopped or failed. `failures` counts failed attempts by code, retried ones too.
    `seconds` is the whole run's, `seconds_by_station` says where they went. `cost` is null where no price was given.
    """

    batchyard: str
    input: str
    output: str
    exit_code: int
    complete: bool
    lines: Lines
    tokens: Tokens
    speed: Speed
    cost: float | None
    failures: dict[str, int]
    retries: int
    engine: str
    engine_restarts: int
    seconds: float
    seconds_by_station: dict[str, float]
    error: Trouble | None = None


def summarize(
    options: RunOptions, tally: Tally, ended: Ended | Exception, *, code: int, seconds: float, prices: Prices
) -> Summary:
    """Put the figures together; places are named without secrets."""
    work = tally.seconds.get("running") or seconds
    return Summary(
        batchyard=__version__,
        input=shown(options.input),
        output=shown(options.output),
        exit_code=code,
        complete=not isinstance(ended, Exception) and ended.complete,
        lines=_lines(tally, ended),
        tokens=Tokens(input=tally.input_tokens, output=tally.output_tokens, cached=tally.cached_tokens),
        speed=Speed(
            lines=(tally.succeeded + tally.errored) / work,
            input_tokens=tally.input_tokens / work,
            output_tokens=tally.output_tokens / work,
        ),
        cost=prices.cost(tally.input_tokens, tally.output_tokens),
        failures=dict(sorted(tally.failures.items())),
        retries=tally.retries,
        engine=tally.engine,
        engine_restarts=tally.engine_restarts,
        seconds=seconds,
        seconds_by_station=tally.seconds,
        error=_trouble(ended),
    )


def shown(place: str) -> str:
    """A place without what may be a secret: neither a user nor a query."""
    if "://" not in place:
        return place
    from batchyard.transport.web import redacted

    return redacted(place)


def _lines(tally: Tally, ended: Ended | Exception) -> Lines:
    """Of the output where there is one, else as far as the run came."""
    end = None if isinstance(ended, Exception) or not ended.complete else ended
    return Lines(
        total=end.lines if end else tally.lines,
        succeeded=end.succeeded if end else tally.succeeded,
        errored=end.errored if end else tally.errored,
        pending=0 if end else max(0, tally.lines - tally.followers - tally.done),
        resumed=end.lines if end and end.already else tally.resumed,
        deduplicated=tally.followers,
        invalid=tally.invalid,
    )


def _trouble(ended: Ended | Exception) -> Trouble | None:
    if not isinstance(ended, Exception):
        return None
    if isinstance(ended, BatchyardError):
        return Trouble(ended.code, ended.message, ended.remedy)
    return Trouble("internal", f"{type(ended).__name__}: {ended}")


def write_summary(summary: Summary, path: str) -> None:
    """As one JSON document, whole or not at all. Raises OSError."""
    final = Path(path)
    text = msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
    if final.exists() and not final.is_file():
        final.write_bytes(text)
        return
    partial = final.with_name(final.name + ".partial")
    partial.write_bytes(text)
    partial.replace(final)


def print_summary(summary: Summary, console: "Console") -> None:
    """The table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for name, text in _rows(summary):
        table.add_row(name, Text(text))
    console.print(table)


def _rows(summary: Summary) -> list[tuple[str, str]]:
    lines, tokens, speed = summary.lines, summary.tokens, summary.speed
    rows = [
        ("lines", _with(f"{lines.succeeded:,} answered", (lines.errored, "failed"), (lines.pending, "to do"))),
        ("of them", _with("", (lines.resumed, "from an earlier run"), (lines.deduplicated, "deduplicated"))),
        ("invalid", f"{lines.invalid:,}" if lines.invalid else ""),
        ("attempts", _with("", *((count, f"failed: {code}") for code, count in summary.failures.items()))),
        ("tokens", _with(f"{tokens.input:,} in, {tokens.output:,} out", (tokens.cached, "cached"))),
        ("speed", _speed(speed)),
        ("retries", _with("", (summary.retries, "requests"), (summary.engine_restarts, "engine restarts"))),
        ("cost", "" if summary.cost is None else f"{summary.cost:,.4f}"),
        ("time", _times(summary)),
        ("engine", summary.engine),
        ("output", summary.output if summary.complete else ""),
    ]
    return [(name, text) for name, text in rows if text]


def _with(first: str, *counts: tuple[int, str]) -> str:
    return ", ".join([first] * bool(first) + [f"{count:,} {word}" for count, word in counts if count])


def _speed(speed: Speed) -> str:
    tokens = f"tokens/s {amount(speed.input_tokens)} in, {amount(speed.output_tokens)} out"
    return f"{rate(speed.lines)} lines/s, {tokens}" if speed.lines else ""


def _times(summary: Summary) -> str:
    most = sorted(summary.seconds_by_station.items(), key=lambda pair: -pair[1])
    parts = [f"{station} {_short(seconds)}" for station, seconds in most if seconds >= 0.05]
    return _short(summary.seconds) + (f" ({', '.join(parts)})" if parts else "")


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
