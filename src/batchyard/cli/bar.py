"""Progress on a terminal: one line that is drawn over and over."""

from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from batchyard.cli.meter import View
from batchyard.cli.wording import ENGINE_STAGES, READING_STAGES, fitted, status

BAR_WIDTH = 16


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
