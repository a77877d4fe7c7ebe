"""How many requests may be in flight, learned from what came back.

Two forces. Throughput: the limit is tried higher, and stays there only where that paid; first in doublings, then in
small probes now and then, up and down in turns. A lower limit stays where it costs nothing: otherwise chance alone, in
thousands of windows, would carry the limit to its ceiling, and each request in flight costs memory. Overload: a server
that says it is full, or lets requests time out, gets less at once.
"""

from math import ceil

from msgspec import Struct
from msgspec.structs import replace

CEILING = 4096
FIRST_LIMIT = 16
WORTH_IT = 1.05
"""A higher limit must bring this much more throughput to stay."""
BIG_STEP = 2.0
SMALL_STEP = 1.25
BACK_OFF = 0.7
WINDOWS_BETWEEN_PROBES = 8


class Pace(Struct, frozen=True):
    """A limit, and what it is compared with.

    `settled` is the limit known to pay; `limit` differs from it while another one is on trial, between `floor`, where
    it began, and `ceiling`. `rate` is the mean throughput seen at `settled` since the last trial, in lines per second,
    0 where not yet known.
    `step` is the factor of the next trial, `up` its direction, `quiet` the windows since the last one. Attempts are
    numbered as they start: those up to `forgiven` started before the last back-off and cannot cause another.
    """

    limit: int
    settled: int
    ceiling: int
    floor: int
    rate: float = 0.0
    step: float = BIG_STEP
    up: bool = True
    quiet: int = WINDOWS_BETWEEN_PROBES
    forgiven: int = 0

    @property
    def on_trial(self) -> bool:
        return self.limit != self.settled

    def measured(self, rate: float) -> "Pace":
        """After a window in which the limit was used in full and `rate` lines per second were answered."""
        if self.on_trial:
            pays = rate > self.rate * WORTH_IT if self.up else rate >= self.rate
            return self._kept(rate) if pays else self._withdrawn()
        mean = (self.rate * self.quiet + rate) / (self.quiet + 1) if self.rate else rate
        if self.quiet < WINDOWS_BETWEEN_PROBES:
            return replace(self, rate=mean, quiet=self.quiet + 1)
        return self._trial(mean)

    def overloaded(self, attempt: int, newest: int) -> "Pace":
        """The engine was too full for the attempt of that number; `newest` has started last."""
        if attempt <= self.forgiven:
            return self
        limit = max(1, int(self.limit * BACK_OFF))
        return Pace(limit, limit, self.ceiling, min(self.floor, limit), step=SMALL_STEP, quiet=0, forgiven=newest)

    def _trial(self, rate: float) -> "Pace":
        """Try the next limit in one direction or, where there is none, in the other."""
        up = self.limit < self.ceiling if self.up else self.limit <= self.floor
        return replace(self, rate=rate, quiet=0, up=up, limit=self._next(up))

    def _kept(self, rate: float) -> "Pace":
        return replace(self, settled=self.limit, rate=rate, limit=self._next(self.up))

    def _withdrawn(self) -> "Pace":
        return replace(self, limit=self.settled, step=SMALL_STEP, up=not self.up, quiet=0)

    def _next(self, up: bool) -> int:
        if up:
            return min(self.ceiling, ceil(self.limit * self.step))
        return max(self.floor, int(self.limit / SMALL_STEP))


def first_pace(slots: int | None, max_inflight: int | None) -> Pace:
    """Where to begin: at the user's own number, with enough to keep known slots busy, or low and curious."""
    if max_inflight is not None:
        return Pace(max_inflight, max_inflight, max_inflight, max_inflight)
    limit = min(CEILING, 2 * slots) if slots else FIRST_LIMIT
    return Pace(limit, limit, CEILING, limit)
