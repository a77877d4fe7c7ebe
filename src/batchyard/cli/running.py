"""One run seen from the terminal: progress while it runs, signals, and what is said at its end."""

import asyncio
import sys
import time
import traceback
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from batchyard.cli import compat_flags, progress
from batchyard.cli.exits import Ended, exit_code
from batchyard.cli.flags import Progress
from batchyard.cli.signals import Signals
from batchyard.cli.summary import Prices, Summary, print_summary, summarize, write_summary
from batchyard.cli.timed import TimedTally
from batchyard.config import Compat, EngineFlag, RunOptions
from batchyard.domain.errors import BadLines, BatchyardError
from batchyard.domain.line import LineError
from batchyard.pipeline.stop import Stop, Stopped
from batchyard.pipeline.tally import Tally

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_LINE_ERRORS = 20


class Reporting(Struct, frozen=True, kw_only=True):
    """What the user wants to see.

    Of the `foreign` flags, and those `given` that only some engines heed, the ignored ones are named; `own` are the
    names that a mistyped one may have meant.
    """

    progress: Progress = Progress.AUTO
    summary: str | None = None
    prices: Prices = Prices()
    foreign: tuple[EngineFlag, ...] = ()
    own: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


class StoppedEarly(Struct, frozen=True):
    """The run was stopped before it had an end to tell."""

    complete: bool = False
    already: bool = False
    lines: int = 0
    succeeded: int = 0
    errored: int = 0


def run(options: RunOptions, reporting: Reporting) -> int:
    """Run, report, and give the exit code."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(options, reporting))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for this system: asyncio's own serves as well
        return None
    return uvloop.new_event_loop


async def _run(options: RunOptions, reporting: Reporting) -> int:
    tally, stop, started = TimedTally(time.perf_counter), Stop(), time.perf_counter()
    drawing = progress.open_drawing(reporting.progress, sys.stderr)
    signals = Signals(stop, tally, drawing.say)
    try:
        signals.listen()
        ended = await _watched(options, reporting, tally, stop, drawing)
    finally:
        signals.close()
        drawing.close()
    tally.settle()
    code = exit_code(ended, options.compat)
    seconds = time.perf_counter() - started
    summary = summarize(options, tally, ended, code=code, seconds=seconds, prices=reporting.prices)
    return _report(options, reporting, ended, summary)


async def _watched(
    options: RunOptions, reporting: Reporting, tally: Tally, stop: Stop, drawing: progress.Drawing
) -> Ended | Exception:
    """The run, with its progress drawn beside it."""
    async with asyncio.TaskGroup() as group:
        drawer = group.create_task(progress.draw(tally, drawing, asyncio.get_running_loop().time))
        ended = await _outcome(options, reporting, tally, stop, drawing.say)
        drawer.cancel()
    return ended


async def _outcome(
    options: RunOptions, reporting: Reporting, tally: Tally, stop: Stop, say: Callable[[str], None]
) -> Ended | Exception:
    """How the run ended, also where it failed: an exception here is a value that gets its words and its exit code."""
    from batchyard import wiring

    try:
        engine = wiring.engine_name(options)
        warning = compat_flags.warning(reporting.foreign, engine, reporting.own, reporting.given)
        if warning is not None:
            say(warning)
        return await wiring.run_batch(options, tally, stop)
    except Exception as error:
        innermost = _innermost(error)
        return StoppedEarly() if isinstance(innermost, Stopped) else innermost


def _innermost(error: Exception) -> Exception:
    """A group of one, as task groups make it, is its one."""
    inner = cast("tuple[Exception, ...]", getattr(error, "exceptions", ()))
    return _innermost(inner[0]) if len(inner) == 1 else error


def _report(options: RunOptions, reporting: Reporting, ended: Ended | Exception, summary: Summary) -> int:
    """Tell people and files how it ended; a summary that cannot be written does not change how the run ended."""
    from rich.console import Console  # only now: while the run works, its memory is for the run

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if isinstance(ended, Exception):
        _print_error(ended, options, console)
    elif not ended.complete:
        console.print(how_to_go_on(options, summary), markup=False)
    elif ended.already:
        console.print("Nothing was left to do: an earlier run of this command has finished.", markup=False)
    if summary.lines.total and (reporting.progress is not Progress.NONE or options.compat is Compat.OPENAI):
        print_summary(summary, console)
    if reporting.summary is not None:
        try:
            write_summary(summary, reporting.summary)
        except OSError as error:
            console.print(f"The summary could not be written to {reporting.summary}: {error.strerror}.", markup=False)
    return summary.exit_code


def how_to_go_on(options: RunOptions, summary: Summary) -> str:
    """What a person who stopped a run wants to know."""
    lines = summary.lines
    answered = lines.resumed + lines.succeeded + lines.errored
    command = "the same command without --fresh" if options.fresh else "the same command"
    kept = f"Stopped: {answered:,} of {lines.total:,} lines are done and safe." if answered else "Stopped."
    return f"{kept} To go on, run {command} again."


def _print_error(error: Exception, options: RunOptions, console: "Console") -> None:
    if isinstance(error, BadLines):
        _print_bad_lines(error, options, console)
    if isinstance(error, BatchyardError):
        console.print(f"batchyard: {error.message}", markup=False)
        if error.remedy:
            console.print(f"  {error.remedy}", markup=False)
        return
    traceback.print_exception(error, file=sys.stderr)
    console.print("batchyard: this is a fault of Batchyard. What was answered is safe; the same command goes on.")


def _print_bad_lines(error: BadLines, options: RunOptions, console: "Console") -> None:
    for line_error in error.errors[:SHOWN_LINE_ERRORS]:
        console.print(line_text(line_error), markup=False)
    hidden = error.count - min(len(error.errors), SHOWN_LINE_ERRORS)
    if hidden > 0:
        console.print(f"... and {hidden:,} more: batchyard validate {options.input} names them all.", markup=False)


def line_text(error: LineError) -> str:
    """`line 7: body.model: missing_required_parameter: ... What to do.`"""
    where = f"line {error.number}: " + (f"{error.param}: " if error.param else "")
    return f"{where}{error.code}: {error.message} {error.remedy}".rstrip()


def names(own: Collection[str]) -> tuple[str, ...]:
    """The long names among our flags: what a mistyped one may have meant."""
    return tuple(name for name in own if name.startswith("--"))
