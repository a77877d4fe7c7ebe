"""How a run is asked to stop: once to finish what is in flight, twice to stop at once."""

import asyncio


class Stopped(Exception):
    """A blocking step gave up because the run was asked to stop. What it had made durable stays."""


class Stop:
    """Two events: `asked` (take nothing new) and `now` (give up what is in flight). Set from the loop's own thread."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.now = asyncio.Event()

    def ask(self) -> None:
        """Ask once to drain; ask again to give up what is in flight."""
        if self.asked.is_set():
            self.now.set()
        self.asked.set()
