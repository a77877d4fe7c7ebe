"""Progress on standard error, drawn from the tally: a bar on a terminal, otherwise a plain line every few seconds."""

import asyncio
import os
from collections.abc import Callable
from typing import Protocol, TextIO

from batchyard.cli.flags import Progress
from batchyard.cli.meter import Meter, View
from batchyard.cli.wording import ENGINE_STAGES, status
from batchyard.pipeline.tally import Tally

LOOK_SECONDS = 0.5
LINE_SECONDS = 5.0


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


def plain_line(view: View) -> str:
    """`running: 412/700 lines (300 repeated) | 35.1 lines/s | ... | 8 s left`."""
    words = status(view)
    return " | ".join(words) if words[0].startswith(view.stage) else f"{view.stage}: " + " | ".join(words)


def open_drawing(style: Progress, stream: TextIO) -> Drawing:
    """What suits the style; `auto` takes the bar only where a terminal can draw it."""
    terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    if style is Progress.BAR or (style is Progress.AUTO and terminal):
        from batchyard.cli.bar import Bar  # rich is three megabytes, which a run without a terminal need not hold

        return Bar(stream)
    return Silent(stream) if style is Progress.NONE else Plain(stream)


async def draw(tally: Tally, drawing: Drawing, now: Callable[[], float]) -> None:
    """Look and show, until cancelled."""
    meter = Meter()
    while True:
        drawing.show(meter.look(tally, now()), now())
        await asyncio.sleep(LOOK_SECONDS)
