"""What is still to be sent: fresh requests, lines that wait for another attempt, and suspects that must run alone.

Whatever is taken from the source is held in memory until its result exists, so what is held is bounded, in bytes and in
lines: while too much waits for another attempt, nothing fresh is taken.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from msgspec import Struct

from batchyard.domain.request import Request
from batchyard.policy.retry import NO_PAST, Again, Past

HELD_BYTES = 64 << 20
"""Bodies in memory at once; a single one may be larger."""
WAITING_LINES = 1024


class Held:
    """Bytes of bodies in memory, of one backlog or of several together. Each may hold one whatever the others do."""

    def __init__(self, most: int = HELD_BYTES) -> None:
        self.bytes = 0
        self._most = most

    def fits(self, size: int) -> bool:
        return self.bytes + size <= self._most


class Carried(Struct):
    """A line on its way: its request, what it has been through, how often it was sent."""

    request: Request
    past: Past = NO_PAST
    attempts: int = 0
    alone: bool = False


class Backlog:
    """Hands out lines. Times are the event loop's."""

    def __init__(self, requests: Iterator[Request], held: Held | None = None) -> None:
        self._requests = requests
        self._next: Request | None = None
        self._waiting: list[tuple[float, int, Carried]] = []
        self._put_back = 0
        self._suspects: deque[Carried] = deque()
        self._out = 0  # lines handed out and not come back
        self._lonely = False  # what is out is a suspect
        self._own = 0
        self._held = held or Held()

    @property
    def empty(self) -> bool:
        """Nothing is left to hand out, now or later."""
        return not self._waiting and not self._suspects and self._peek() is None

    def take(self, now: float) -> Carried | None:
        """The next line that may be sent; None where none may, for now. It comes back through `again` or `done`."""
        line = None if self._lonely else self._next_line(now)
        if line is not None:
            self._out += 1
            self._lonely = line.alone
        return line

    def again(self, line: Carried, verdict: Again, due: float) -> None:
        """Take a line back that was handed out, to hand it out once more, not before `due`."""
        self._come_back()
        line.past, line.alone = verdict.past, verdict.alone
        self._put_back += 1
        heappush(self._waiting, (due, self._put_back, line))

    def done(self, line: Carried) -> None:
        """The line has its result."""
        self._come_back()
        self._hold(-len(line.request.body))

    def next_due(self) -> float | None:
        """When the next waiting line may be sent; None where none waits."""
        return self._waiting[0][0] if self._waiting else None

    def _next_line(self, now: float) -> Carried | None:
        if self._waiting:
            self._set_suspects_aside(now)
        if self._suspects:  # with nothing else on board: if the engine dies of it, we know of what
            return None if self._out else self._suspects.popleft()
        if self._waiting and self._waiting[0][0] <= now:
            return heappop(self._waiting)[2]
        return self._fresh()

    def _set_suspects_aside(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now and self._waiting[0][2].alone:
            self._suspects.append(heappop(self._waiting)[2])

    def _come_back(self) -> None:
        self._out -= 1
        self._lonely = False

    def _fresh(self) -> Carried | None:
        if len(self._waiting) >= WAITING_LINES:
            return None
        request = self._next or self._peek()
        if request is None:
            return None
        size = len(request.body)
        if self._own and not self._held.fits(size):
            return None
        self._next = None
        self._hold(size)
        return Carried(request)

    def close(self) -> None:
        """Nothing more will be handed out or come back."""
        self._hold(-self._own)

    def _hold(self, more: int) -> None:
        self._own += more
        self._held.bytes += more

    def _peek(self) -> Request | None:
        if self._next is None:
            self._next = next(self._requests, None)
        return self._next
