"""The calendar: which batches walk, and when. Everything that has not ended has its turn, after a restart too."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from typing import cast

from msgspec import Struct

from batchyard.clock import Clock
from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchId, BatchState
from batchyard.domain.errors import BatchyardError
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.parking import NoRoom, Parking
from batchyard.pipeline.waiting import Waiting
from batchyard.store import Store
from batchyard.telemetry import logs

_log = logging.getLogger(__name__)

Walk = Callable[[Batch, Leash], Awaitable[None]]


_FEW = 1000
BEGUN_AT_A_TURN = 8
"""Walks that begin within one turn of the event loop: between any two turns the doors are served."""


class CalendarSettings(Struct, frozen=True, kw_only=True):
    """How batches walk.

    `at_once` batches do; once more as many may where their project has none that does, or where they only have to end.
    `grace_seconds` is how long requests in flight may take once a batch is told to end, `halt_seconds` once the server
    is. A walk that could not go on is tried again after `pause_seconds`, doubling up to `longest_pause_seconds`.
    `look_seconds` is how often the store is asked for what nobody has told of.
    """

    at_once: int = 512
    grace_seconds: float = 30.0
    halt_seconds: float = 30.0
    pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    look_seconds: float = 30.0


class _Turn(Struct):
    """A batch that waits to walk. It is ready, not due yet, or parked: without room for its tokens."""

    batch: Batch
    failures: int = 0
    ready: bool = False
    parked: bool = False


class Calendar:
    """See the module. `notice` may be called at any time, `run` once."""

    def __init__(
        self, store: Store, clock: Clock, walk: Walk, settings: CalendarSettings, parking: Parking | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._walk = walk
        self._settings = settings
        self._turns: dict[BatchId, _Turn] = {}
        self._ready: Waiting[_Turn] = Waiting()
        self._ending: Waiting[_Turn] = Waiting()  # those of them that ask nothing of an engine any more
        self._dues: list[tuple[float, BatchId]] = []  # in the event loop's time
        self._deadlines: list[tuple[int, BatchId]] = []
        self._inflight: Counter[ProjectId] = Counter()
        self._walking: dict[BatchId, tuple[Batch, Leash]] = {}
        self._stir = asyncio.Event()
        self._looked_at = float("-inf")
        self._parking = parking or Parking()
        self._parking.on_news = self._hear_news
        self._parked: set[BatchId] = set()
        self._news = False
        self._waits_for_engines = False

    @property
    def waiting(self) -> list[Batch]:
        """Those that do not walk now."""
        return [turn.batch for turn in self._turns.values()]

    def notice(self, batch: Batch) -> None:
        """A batch was added, or a caller has cancelled it."""
        if batch.state.terminal:
            return
        if batch.id in self._walking:
            if batch.state is BatchState.CANCELLING:
                self._walking[batch.id][1].cancel()
        elif batch.id in self._turns:
            self._turns[batch.id].batch = batch
            self._look_again(self._turns[batch.id])
        else:
            self._turns[batch.id] = _Turn(batch)
            self._make_ready(self._turns[batch.id])
        self._stir.set()

    def hurry(self) -> None:
        """An engine has come: what could not go on tries again now."""
        for turn in self._turns.values():
            if not turn.ready:
                self._make_ready(turn)
        self._stir.set()

    def wait_for_engines(self) -> None:
        """Until one has come let only those walk that ask nothing of it: cancels and deadlines wait for nobody."""
        self._waits_for_engines = True

    def engines_have_come(self) -> None:
        self._waits_for_engines = False
        self._stir.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Walk batches until told to stop; return once every walk has left. What has not ended goes on next time."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(self._halt_all(stop))
            await self._look(loop.time())
            while not stop.is_set():
                self._start(group, loop.time())
                await self._stirred()
                await self._look(loop.time())
            await stopping

    async def _halt_all(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for _, leash in self._walking.values():
            leash.halt(self._settings.halt_seconds)
        self._stir.set()

    async def _look(self, now: float) -> None:
        """Ask the store now and then for what was not noticed."""
        if now < self._looked_at + self._settings.look_seconds:
            return
        self._looked_at = now
        self._parking.tell_all()
        self._news = True
        try:
            for batch in await self._store.batches.unended():
                self.notice(batch)
        except BatchyardError as error:
            _log.warning("calendar_cannot_look", extra={"reason": str(error)})

    def _start(self, group: asyncio.TaskGroup, now: float) -> None:
        """Let batches walk whose turn it is, while there is room."""
        self._see_the_time(now)
        self._see_who_finds_room()
        for _ in range(BEGUN_AT_A_TURN):
            turn = self._next()
            if turn is None:
                return
            batch, leash = turn.batch, Leash(self._settings.grace_seconds)
            self._ready.remove(batch)
            self._ending.remove(batch)
            del self._turns[batch.id]
            self._walking[batch.id] = batch, leash
            self._inflight[batch.project] += 1
            group.create_task(self._walk_one(turn, leash))
        self._stir.set()

    def _next(self) -> _Turn | None:
        walking, most = len(self._walking), self._settings.at_once
        if self._waits_for_engines:
            return self._ending.first(self._inflight) if walking < most else None
        if walking < most:
            return self._ready.first(self._inflight)
        if walking >= 2 * most:
            return None
        return self._ready.first(self._inflight, idle=True) or self._ending.first(self._inflight)

    def _see_the_time(self, now: float) -> None:
        """What was put off may be due, and what waits may be past its deadline."""
        while self._dues and self._dues[0][0] <= now:
            turn = self._turns.get(heappop(self._dues)[1])
            if turn is not None and not turn.ready:
                self._make_ready(turn)
        at = self._clock.now()
        while self._deadlines and self._deadlines[0][0] <= at:
            turn = self._turns.get(heappop(self._deadlines)[1])
            if turn is not None:
                self._look_again(turn)

    def _make_ready(self, turn: _Turn) -> None:
        batch, turn.ready = turn.batch, True
        self._ready.add(batch, turn)
        if batch.deadline_at is not None:
            self._note_deadline(batch.deadline_at, batch.id)
        self._end_only(turn)

    def _note_deadline(self, at: int, id: BatchId) -> None:
        if len(self._deadlines) > 2 * len(self._turns) + _FEW:  # most of them are of batches that wait no more
            self._deadlines = [each for each in self._deadlines if each[1] in self._turns]
            heapify(self._deadlines)
        heappush(self._deadlines, (at, id))

    def _see_who_finds_room(self) -> None:
        """Let parked batches try again that may."""
        if not self._news:
            return
        self._news = False
        for id in tuple(self._parked):
            turn = self._turns.get(id)
            if turn is None or not turn.parked:
                self._parked.discard(id)
            elif self._parking.may_try(id):
                self._unpark(turn)

    def _hear_news(self) -> None:
        self._news = True
        self._stir.set()

    def _park(self, batch: Batch) -> None:
        self._turns[batch.id] = _Turn(batch, parked=True)
        self._parked.add(batch.id)
        if batch.deadline_at is not None:
            self._note_deadline(batch.deadline_at, batch.id)
        self._hear_news()  # room may have come while it left

    def _unpark(self, turn: _Turn) -> None:
        turn.parked = False
        self._parked.discard(turn.batch.id)
        self._make_ready(turn)

    def _look_again(self, turn: _Turn) -> None:
        """A batch was cancelled, or its deadline passes: then it needs no room, nor an engine, and need not wait."""
        if self._only_ends(turn.batch) and not turn.ready:
            self._unpark(turn)
        self._end_only(turn)

    def _only_ends(self, batch: Batch) -> bool:
        """Whether a batch asks nothing of an engine any more."""
        past = batch.deadline_at is not None and batch.deadline_at <= self._clock.now()
        return past or batch.state in (BatchState.CANCELLING, BatchState.FINALIZING)

    def _end_only(self, turn: _Turn) -> None:
        """Note where a batch that is ready asks nothing of an engine any more."""
        batch = turn.batch
        if self._only_ends(batch) and turn.ready and batch not in self._ending:
            self._ending.add(batch, turn)

    async def _stirred(self) -> None:
        """Wait until something changes, or it is time to look; for a turn of the loop at least."""
        await asyncio.sleep(0)
        look_at = self._looked_at + self._settings.look_seconds
        wake_at = min(self._dues[0][0], look_at) if self._dues else look_at
        with suppress(TimeoutError):
            async with asyncio.timeout_at(wake_at):
                await self._stir.wait()
        self._stir.clear()

    async def _walk_one(self, turn: _Turn, leash: Leash) -> None:
        """One walk. Whatever stops it is said once, and the batch walks again later: an outage costs only time."""
        batch = turn.batch
        try:
            with logs.about(batch_id=batch.id, project=batch.project):
                await self._walk(batch, leash)
            self._parking.tell(batch.project)
        except NoRoom:
            self._park(batch)
        except Exception as error:
            self._put_off(turn, _innermost(error))
        finally:
            leash.close()
            del self._walking[batch.id]
            self._inflight[batch.project] -= 1
            self._stir.set()

    def _put_off(self, turn: _Turn, reason: Exception) -> None:
        batch, settings = turn.batch, self._settings
        pause = min(settings.pause_seconds * 2.0 ** min(turn.failures, 16), settings.longest_pause_seconds)
        self._turns[batch.id] = _Turn(batch, turn.failures + 1)
        heappush(self._dues, (asyncio.get_running_loop().time() + pause, batch.id))
        told = {"batch_id": batch.id, "reason": str(reason), "again_in_seconds": pause}
        unknown = None if isinstance(reason, BatchyardError) else reason
        _log.warning("batch_cannot_go_on", extra=told, exc_info=unknown)


def _innermost(error: Exception) -> Exception:
    """A group of one, as task groups make it, is its one."""
    inner = cast("tuple[Exception, ...]", getattr(error, "exceptions", ()))
    return _innermost(inner[0]) if len(inner) == 1 else error
