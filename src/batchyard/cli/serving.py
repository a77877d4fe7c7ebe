"""A server seen from the terminal: signals, and what is said."""

import asyncio
import signal
from collections.abc import Callable
from typing import cast

import typer

from batchyard.domain.errors import BatchyardError
from batchyard.server.options import ServeOptions
from batchyard.wiring.serve import run_server


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one for this system."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def run(options: ServeOptions) -> int:
    """Serve until a signal; the exit code."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    serving = asyncio.current_task()
    assert serving is not None

    def end() -> None:
        if stop.is_set():
            serving.cancel()
            return
        _say("Ending when the calls under way have ended; ask again to end at once.")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        await run_server(options, stop, _say)
    except asyncio.CancelledError:
        return 0  # asked twice: at once
    except (BatchyardError, ExceptionGroup) as error:
        innermost = _innermost(error)
        if not isinstance(innermost, BatchyardError):
            raise
        typer.echo(f"batchyard: {innermost}", err=True)
        return 1
    return 0


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _innermost(error: Exception) -> Exception:
    """A group of one, as task groups make it, is its one."""
    inner = cast("tuple[Exception, ...]", getattr(error, "exceptions", ()))
    return _innermost(inner[0]) if len(inner) == 1 else error
