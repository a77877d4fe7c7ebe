"""How many requests may be in flight, learned from what came back.

Two forces. Throughput: the limit is tried higher, and stays there only where that paid; first in doublings, then in
small probes now and then. Overload: a server that says it is full, or lets requests time out, gets less at once.
Requests that an engine merely queues do no harm, so nothing here searches downwards without being told to.
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

    `settled` is the limit known to pay; `limit` is above it while a higher one is on trial. `rate` is the throughput
    seen at `settled`, in lines per second, 0 where not yet known. `step` is the factor of the next trial, `quiet` the
    windows since the last one. Attempts are numbered as they start: those up to `forgiven` started before the last
    back-off and cannot cause another.
    """

    limit: int
    settled: int
    ceiling: int
    rate: float = 0.0
    step: float = BIG_STEP
    quiet: int = WINDOWS_BETWEEN_PROBES
    forgiven: int = 0

    @property
    def on_trial(self) -> bool:
        return self.limit > self.settled

    def measured(self, rate: float) -> "Pace":
        """After a window in which the limit was used in full and `rate` lines per second were answered."""
        if self.on_trial:
            return self._kept(rate) if rate > self.rate * WORTH_IT else self._withdrawn()
        if self.quiet < WINDOWS_BETWEEN_PROBES or self.limit >= self.ceiling:
            return replace(self, rate=rate, quiet=self.quiet + 1)
        return replace(self, rate=rate, quiet=0, limit=self._above())

    def overloaded(self, attempt: int, newest: int) -> "Pace":
        """The engine was too full for the attempt of that number; `newest` has started last."""
        if attempt <= self.forgiven:
            return self
        limit = max(1, int(self.limit * BACK_OFF))
        return Pace(limit, limit, self.ceiling, step=SMALL_STEP, quiet=0, forgiven=newest)

    def _kept(self, rate: float) -> "Pace":
        return replace(self, settled=self.limit, rate=rate, limit=self._above())

    def _withdrawn(self) -> "Pace":
        return replace(self, limit=self.settled, step=SMALL_STEP, quiet=0)

    def _above(self) -> int:
        return min(self.ceiling, ceil(self.limit * self.step))


def first_pace(slots: int | None, max_inflight: int | None) -> Pace:
    """Where to begin: at the user's own number, with enough to keep known slots busy, or low and curious."""
    if max_inflight is not None:
        return Pace(max_inflight, max_inflight, max_inflight)
    limit = min(CEILING, 2 * slots) if slots else FIRST_LIMIT
    return Pace(limit, limit, CEILING)
