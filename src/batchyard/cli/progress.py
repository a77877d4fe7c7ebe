"""Progress on standard error, drawn from the tally: a bar on a terminal, otherwise a plain line every few seconds."""

import asyncio
import os
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from batchyard.cli.flags import Progress
from batchyard.cli.meter import Meter, View
from batchyard.cli.wording import ENGINE_STAGES, READING_STAGES, fitted, status
from batchyard.pipeline.tally import Tally

LOOK_SECONDS = 0.5
LINE_SECONDS = 5.0
BAR_WIDTH = 16


class Drawing(Protocol):
    """Shows looks at a run, and lets other lines pass above them."""

    def show(self, view: View, now: float) -> None: ...

    def say(self, text: str) -> None:
        """Write a line for people, whole."""
        ...

    def close(self) -> None: ...


class Silent:
    """No progress, only what must be said."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, view: View, now: float) -> None:
        return None

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        return None


class Plain(Silent):
    """A line when the stage changes and every `LINE_SECONDS` after: for logs, which keep every line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._stage = ""
        self._next = 0.0

    def show(self, view: View, now: float) -> None:
        if view.stage == self._stage and now < self._next:
            return
        new = view.stage != self._stage
        self._stage, self._next = view.stage, now + LINE_SECONDS
        self.say(view.stage if new and view.stage not in ENGINE_STAGES else plain_line(view))


class Bar:
    """One line that is drawn over and over."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._bar = RichProgress(
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[status]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._line = self._bar.add_task("", total=None, status="")
        self._bar.start()

    def show(self, view: View, now: float) -> None:
        counted = view.stage in ENGINE_STAGES
        reading = view.stage in READING_STAGES
        total = view.to_run if counted else view.bytes_total if reading else 0
        done = view.done if counted else view.bytes_read
        text = escape(fitted(status(view), self._console.width - BAR_WIDTH - 1))
        self._bar.update(self._line, total=total or None, completed=done, status=text)
        self._bar.refresh()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


def plain_line(view: View) -> str:
    """`running: 412/700 lines (300 repeated) | 35.1 lines/s | ... | 8 s left`."""
    words = status(view)
    return " | ".join(words) if words[0].startswith(view.stage) else f"{view.stage}: " + " | ".join(words)


def open_drawing(style: Progress, stream: TextIO) -> Drawing:
    """What suits the style; `auto` takes the bar only where a terminal can draw it."""
    terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    if style is Progress.BAR or (style is Progress.AUTO and terminal):
        return Bar(stream)
    return Silent(stream) if style is Progress.NONE else Plain(stream)


async def draw(tally: Tally, drawing: Drawing, now: Callable[[], float]) -> None:
    """Look and show, until cancelled."""
    meter = Meter()
    while True:
        drawing.show(meter.look(tally, now()), now())
        await asyncio.sleep(LOOK_SECONDS)
