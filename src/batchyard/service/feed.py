"""What happens to batches, told to those who listen while it happens.

Whoever moves or counts a batch says so here (`moved`, `counted`); one duty reads the new events from the store, once
for all, and puts what is told into the mailbox of each listener whom it concerns. Nobody asks the store again and
again, and what nobody listens to costs next to nothing. A mailbox is short: a listener who does not keep up is shut
out, and comes back with the number of the last event that it has seen.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from msgspec import Struct

from batchyard.clock import Clock
from batchyard.domain.access import Action, Caller, ProjectId
from batchyard.domain.batch import Batch, BatchId, BatchState
from batchyard.domain.errors import BatchyardError, Unavailable
from batchyard.domain.event import Event
from batchyard.service.access import require
from batchyard.service.batches import found
from batchyard.store import BatchFilter, Cursor, Store

PROGRESS: Final = "batch.progress"
"""The kind of what is told when only counts have changed."""

MAILBOX: Final = 256
LISTENERS: Final = 4096
REPLAYED: Final = 1000
"""So many events a listener of a whole project may have missed and still get; after more it gets the present state."""

PRESENT: Final = 1000
READ_AT_ONCE: Final = 256
_PAUSE_SECONDS: Final = 1.0
_UNENDED: Final = frozenset(state for state in BatchState if not state.terminal)
_log = logging.getLogger(__name__)

Render = Callable[[str, int, Batch, Event | None], bytes]
"""The bytes of something told: its kind, its time, the batch as it stands, and the event where there is one."""


class Told(Struct, frozen=True):
    """Something told. `number` is the event's, None where only counts have changed; `last`: nothing more can follow."""

    kind: str
    data: bytes
    number: int | None = None
    last: bool = False


class Listener:
    """One who listens to a batch, or to all of a project. `first` is what comes before everything in the mailbox."""

    def __init__(self, project: ProjectId, batch_id: BatchId | None) -> None:
        self.project = project
        self.batch_id = batch_id
        self.first: list[Told] = []
        self.over = False
        """Everything was told before, and nothing more can follow."""
        self.closed = asyncio.Event()
        self._seen = 0
        self._mailbox: deque[Told] = deque()
        self._stir = asyncio.Event()

    def begin(self, first: list[Told], seen: int) -> None:
        self.first = first
        self._seen = seen

    def tell(self, told: Told) -> None:
        """Put something into the mailbox; where it is full, the listener is shut out."""
        if len(self._mailbox) >= MAILBOX:
            self.close()
        elif not self.closed.is_set():
            self._mailbox.append(told)
            self._stir.set()

    def close(self) -> None:
        self.closed.set()
        self._stir.set()

    async def next(self, within_seconds: float) -> Told | None:
        """What is told next; None where nothing was in that time, or the listener is shut out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while not self.closed.is_set():
                    while self._mailbox:
                        told = self._mailbox.popleft()
                        if told.number is None or told.number > self._seen:
                            return told
                    self._stir.clear()
                    await self._stir.wait()
        return None


class Feed:
    """See the module. `run` is a duty: whoever runs it shuts all listeners out at its end."""

    def __init__(self, store: Store, clock: Clock, render: Render) -> None:
        self._store = store
        self._clock = clock
        self._render = render
        self._listeners: dict[ProjectId | BatchId, set[Listener]] = {}
        self._number: int | None = None  # of the last event that was told
        self._counted: dict[BatchId, ProjectId] = {}
        self._stir = asyncio.Event()
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    # What happens

    def moved(self, batch: Batch) -> None:
        """A batch is in a state, with its event in the store."""
        self._counted.pop(batch.id, None)
        self._stir.set()

    def counted(self, batch: Batch) -> None:
        """Counts of a batch have changed."""
        if self._concerned(batch.project, batch.id):
            self._counted[batch.id] = batch.project
            self._stir.set()

    async def run(self) -> None:
        """Tell what happens, for as long as the server runs."""
        try:
            while True:
                try:
                    await self._begun()
                    await self._stir.wait()
                    self._stir.clear()
                    await self._tell_moves()
                    await self._tell_counts()
                except BatchyardError as error:
                    _log.warning("events_not_told", extra={"reason": str(error)})
                    await asyncio.sleep(_PAUSE_SECONDS)
                    self._stir.set()
        finally:
            self.close()

    def close(self) -> None:
        """Shut all listeners out, and those who come later."""
        self._closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()

    # Those who listen

    @asynccontextmanager
    async def listening(self, caller: Caller, id: str | None, after: int | None) -> AsyncGenerator[Listener]:
        """Listen to a batch, or to all of the caller's project, from the event number `after` on.

        Raises NotFound where there is no such batch, Unavailable where too many listen.
        """
        require(caller, Action.VIEW_BATCHES)
        batch = None if id is None else await found(self._store, caller.project, id)
        if self.listeners >= LISTENERS:
            raise Unavailable("Too many listen to events.", remedy="Close streams that nobody reads, or poll.")
        listener = Listener(caller.project, batch.id if batch else None)
        name = listener.batch_id or listener.project
        self._listeners.setdefault(name, set()).add(listener)
        try:
            await self._begun()
            await self._prime(listener, after)
            if self._closed:
                listener.close()
            yield listener
        finally:
            self._listeners[name].discard(listener)
            if not self._listeners[name]:
                del self._listeners[name]

    async def _prime(self, listener: Listener, after: int | None) -> None:
        """Find what the listener gets first: what it has missed, or how things stand."""
        last = await self._store.events.last()
        missed = None if after is None or after > last else await self._missed(listener, after)
        present = await self._present(listener)
        if missed is None:
            listener.begin([self._told(batch, number=last) for batch in present], last)
            return
        by_id = {batch.id: batch for batch in present}
        first = [self._event(n, event, await self._batch(event, by_id)) for n, event in missed]
        listener.begin(first or [self._told(batch) for batch in present], missed[-1][0] if missed else after or 0)
        listener.over = not missed and listener.batch_id is not None and present[0].state.terminal

    async def _missed(self, listener: Listener, after: int) -> Sequence[tuple[int, Event]] | None:
        """What a listener has not seen; None where that is too much."""
        missed: list[tuple[int, Event]] = []
        while rows := await self._store.events.after(after, READ_AT_ONCE, listener.project):
            after = rows[-1][0]
            missed += [row for row in rows if listener.batch_id in (None, row[1].batch_id)]
            if len(missed) > REPLAYED:
                return None
        return missed

    async def _present(self, listener: Listener) -> Sequence[Batch]:
        if listener.batch_id is not None:
            return [await found(self._store, listener.project, listener.batch_id)]
        page = await self._store.batches.list(listener.project, Cursor(PRESENT), BatchFilter(states=_UNENDED))
        return page.rows if page else []

    # Telling

    async def _begun(self) -> int:
        """From which event on things are told: from now, when first asked."""
        if self._number is None:
            last = await self._store.events.last()
            self._number = last if self._number is None else self._number
        return self._number

    async def _tell_moves(self) -> None:
        number = await self._begun()
        while rows := await self._store.events.after(number, READ_AT_ONCE):
            seen: dict[BatchId, Batch] = {}
            for number, event in rows:
                if listeners := self._concerned(event.project, event.batch_id):
                    _tell(listeners, self._event(number, event, await self._batch(event, seen)))
                self._number = number

    async def _tell_counts(self) -> None:
        counted, self._counted = self._counted, {}
        for id, project in counted.items():
            batch = await found(self._store, project, id)  # not as the walk knows it: it may be cancelled by now
            if not batch.state.terminal:
                _tell(self._concerned(project, id), self._told(batch))

    def _concerned(self, project: ProjectId, id: BatchId) -> list[Listener]:
        return [*self._listeners.get(id, ()), *self._listeners.get(project, ())]

    async def _batch(self, event: Event, seen: dict[BatchId, Batch]) -> Batch:
        """The batch of an event, as it stands."""
        if event.batch_id not in seen:
            seen[event.batch_id] = await found(self._store, event.project, event.batch_id)
        return seen[event.batch_id]

    def _event(self, number: int, event: Event, batch: Batch) -> Told:
        last = BatchState(event.kind.removeprefix("batch.")).terminal
        return Told(event.kind, self._render(event.kind, event.at, batch, event), number, last)

    def _told(self, batch: Batch, number: int | None = None) -> Told:
        """How a batch stands; with a number, the state is told, without one, that counts have changed."""
        kind = PROGRESS if number is None else f"batch.{batch.state}"
        at = int(self._clock.now()) if number is None else batch.moved_at
        return Told(kind, self._render(kind, at, batch, None), number, batch.state.terminal)


def _tell(listeners: Iterable[Listener], told: Told) -> None:
    for listener in listeners:
        listener.tell(told)
