"""What is still to be sent: fresh requests, lines that wait for another attempt, and suspects that must run alone.

Lines are handed out in groups that are asked in one call; most groups are of one line. Where an engine takes more, a
group is filled from what is there: nobody waits for it. Lines that cannot be in a group with others need not stand in
its way: a few are read ahead.

Whatever is taken from the source is held in memory until its result exists, so what is held is bounded, in bytes and in
lines: while too much waits for another attempt, nothing fresh is taken.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf

from msgspec import Struct

from batchyard.domain.request import Request
from batchyard.endpoint import Loose
from batchyard.pipeline.group import Groups, Trial
from batchyard.policy.group import GROUP_BYTES
from batchyard.policy.retry import NO_PAST, Again, Past

HELD_BYTES = 64 << 20
"""Bodies in memory at once; a single one may be larger."""
WAITING_LINES = 1024
LOOSE_BYTES = 512
"""What a line of a group takes beside its body and the copy of it that goes into the call."""
AHEAD_LINES = 256
"""Lines that are read to find some for a group, and have to wait for their own."""


class Held:
    """Bytes of bodies in memory, of one backlog or of several together. Each may hold one whatever the others do."""

    def __init__(self, most: int = HELD_BYTES) -> None:
        self.bytes = 0
        self._most = most

    def fits(self, size: int) -> bool:
        return self.bytes + size <= self._most


class Carried(Struct):
    """A line on its way: its request, what it has been through, how often it was sent.

    `loose` is what of it goes into a group, None where it goes by itself; `most` is how many that group may have, None
    where the engine says; `trial` what its answer will tell of a group that failed.
    """

    request: Request
    past: Past = NO_PAST
    attempts: int = 0
    alone: bool = False
    loose: Loose | None = None
    most: int | None = None
    trial: Trial | None = None

    @property
    def options(self) -> bytes | None:
        return None if self.loose is None else self.loose.options

    @property
    def held_bytes(self) -> int:
        body = len(self.request.body)
        return body if self.loose is None else 2 * body + LOOSE_BYTES


Group = list[Carried]
"""Lines that are asked in one call, most often one."""


class Backlog:
    """Hands out lines. Times are the event loop's."""

    def __init__(self, requests: Iterator[Request], held: Held | None = None, groups: Groups | None = None) -> None:
        self._requests = requests
        self._groups = groups
        self._ahead: dict[bytes | None, deque[Carried]] = {}  # by their options
        self._ahead_lines = 0
        self._next: Request | None = None
        self._waiting: list[tuple[float, float, int, Carried]] = []
        self._put_back = 0
        self._suspects: deque[Carried] = deque()
        self._out = 0  # lines handed out and not come back
        self._lonely = False  # what is out is a suspect
        self._own = 0
        self._held = held or Held()

    @property
    def empty(self) -> bool:
        """Nothing is left to hand out, now or later."""
        return not self._waiting and not self._suspects and not self._ahead and self._peek() is None

    def take(self, now: float) -> Group:
        """The next lines that may be sent; none where none may, for now. Each comes back through `again` or `done`."""
        line = None if self._lonely else self._next_line(now)
        if line is None:
            return []
        group = [line] if line.alone or line.loose is None else self._gathered(line, now)
        self._out += len(group)
        self._lonely = line.alone
        return group

    def again(self, line: Carried, verdict: Again, due: float) -> None:
        """Take a line back that was handed out, to hand it out once more, not before `due`.

        Of those that are due, the ones of small groups go first: so it shows soon what the engine takes.
        """
        self._come_back()
        line.past, line.alone = verdict.past, verdict.alone
        self._put_back += 1
        heappush(self._waiting, (due, inf if line.most is None else line.most, self._put_back, line))

    def done(self, line: Carried) -> None:
        """The line has its result."""
        self._come_back()
        self._hold(-line.held_bytes)

    def next_due(self) -> float | None:
        """When the next waiting line may be sent; None where none waits."""
        return self._waiting[0][0] if self._waiting else None

    def _next_line(self, now: float) -> Carried | None:
        if self._waiting:
            self._set_suspects_aside(now)
        if self._suspects:  # with nothing else on board: if the engine dies of it, we know of what
            return None if self._out else self._suspects.popleft()
        if self._waiting and self._waiting[0][0] <= now:
            return heappop(self._waiting)[3]
        return self._fresh()

    def _set_suspects_aside(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now and self._waiting[0][3].alone:
            self._suspects.append(heappop(self._waiting)[3])

    def _come_back(self) -> None:
        self._out -= 1
        self._lonely = False

    def _gathered(self, first: Carried, now: float) -> Group:
        """A line with others that can be asked with it."""
        assert self._groups is not None
        group, size = [first], _size(first)
        most = self._groups.most if first.most is None else min(first.most, self._groups.most)
        while len(group) < most and size < GROUP_BYTES and (line := self._like(first, now)) is not None:
            group.append(line)
            size += _size(line)
        return group

    def _like(self, first: Carried, now: float) -> Carried | None:
        """The next line that may be in one group with another. Those of a group that failed stay among themselves."""
        if self._waiting and self._waiting[0][0] <= now:
            line = self._waiting[0][3]
            return heappop(self._waiting)[3] if not line.alone and _alike(line, first) else None
        return None if first.most is not None or self._is_full() else self._fresh_like(first.options)

    def _fresh_like(self, options: bytes | None) -> Carried | None:
        if options in self._ahead:
            return self._from_ahead(options)
        while self._ahead_lines < AHEAD_LINES and (line := self._read()) is not None:
            if line.options == options:
                return line
            self._ahead.setdefault(line.options, deque()).append(line)
            self._ahead_lines += 1
        return None

    def _from_ahead(self, options: bytes | None) -> Carried:
        lines = self._ahead[options]
        line = lines.popleft()
        self._ahead_lines -= 1
        if not lines:
            del self._ahead[options]
        return line

    def _fresh(self) -> Carried | None:
        if self._is_full():
            return None
        return self._from_ahead(next(iter(self._ahead))) if self._ahead else self._read()

    def _is_full(self) -> bool:
        return len(self._waiting) >= WAITING_LINES

    def _read(self) -> Carried | None:
        request = self._next or self._peek()
        if request is None:
            return None
        if self._own and not self._held.fits(len(request.body)):
            return None
        self._next = None
        line = Carried(request, loose=None if self._groups is None else self._groups.read(request))
        self._hold(line.held_bytes)
        return line

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


def _size(line: Carried) -> int:
    return 0 if line.loose is None else len(line.loose.text)


def _alike(a: Carried, b: Carried) -> bool:
    return a.options == b.options and a.most == b.most
