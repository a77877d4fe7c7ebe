"""Ctrl-C and its relatives: ask the run to stop, say what happens, and never make it unsafe."""

import asyncio
import signal
from collections.abc import Callable

from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally

GRACE_SECONDS = 10.0
"""How long a run that is asked to end by a supervisor (SIGTERM) or a closed terminal may finish what is under way."""

ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Turns signals into `Stop.ask`. A third Ctrl-C ends the process at once; what was recorded is safe."""

    def __init__(self, stop: Stop, tally: Tally, say: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._tally = tally
        self._say = say
        self._timer: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        self._loop.add_signal_handler(signal.SIGINT, self.interrupt)
        for number in ENDINGS:
            self._loop.add_signal_handler(number, self.end)

    def close(self) -> None:
        for number in (signal.SIGINT, *ENDINGS):
            self._loop.remove_signal_handler(number)
        if self._timer is not None:
            self._timer.cancel()

    def interrupt(self) -> None:
        """First: finish what is under way. Second: give it up."""
        if self._stop.asked.is_set():
            self._say("Stopping at once. Everything answered so far is safe.")
            self._loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        elif self._tally.inflight:
            self._say(f"Finishing {self._tally.inflight:,} requests under way; press Ctrl-C again to stop at once.")
        else:
            self._say("Stopping.")
        self._stop.ask()

    def end(self) -> None:
        """Finish what is under way, but not for long."""
        if self._stop.asked.is_set():
            self._stop.ask()
            return
        self._say(
            f"Asked to end: finishing {self._tally.inflight:,} requests under way, {GRACE_SECONDS:.0f} s at most."
        )
        self._stop.ask()
        self._timer = self._loop.call_later(GRACE_SECONDS, self._stop.ask)
