"""A tally that remembers how long each stage took."""

from collections.abc import Callable

from batchyard.pipeline.tally import Tally


class TimedTally(Tally):
    """The stations only set `stage`; the time since the last change is booked under the one that ends.

    Only that one attribute is watched: the counters are written for every request and stay as quick as they are.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._stage = ""
        self._since = now()
        super().__init__()

    @property
    def stage(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stage

    @stage.setter
    def stage(self, stage: str) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self._stage:
            self.settle()
        self._stage = stage

    def settle(self) -> None:
        """Book the time of the stage at work up to now."""
        now = self._now()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._since = now
