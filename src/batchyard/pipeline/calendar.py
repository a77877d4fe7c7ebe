"""The calendar: which batches walk, and when. Everything that has not ended has its turn, after a restart too."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import cast

from msgspec import Struct

from batchyard.clock import Clock
from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchId, BatchState
from batchyard.domain.errors import BatchyardError
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.share import standing_of
from batchyard.policy.order import first
from batchyard.store import Store
from batchyard.telemetry import logs

_log = logging.getLogger(__name__)

Walk = Callable[[Batch, Leash], Awaitable[None]]


class CalendarSettings(Struct, frozen=True, kw_only=True):
    """How batches walk.

    `at_once` batches do; once more as many may where their project has none that does, or where they only have to end.
    `grace_seconds` is how long requests in flight may take once a batch is told to end, `halt_seconds` once the server
    is. A walk that could not go on is tried again after `pause_seconds`, doubling up to `longest_pause_seconds`.
    `look_seconds` is how often the store is asked for what nobody has told of.
    """

    at_once: int = 64
    grace_seconds: float = 30.0
    halt_seconds: float = 30.0
    pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    look_seconds: float = 30.0


class _Waiting(Struct):
    batch: Batch
    due: float = 0.0
    """Not before this, in the event loop's time."""
    failures: int = 0


class Calendar:
    """See the module. `notice` may be called at any time, `run` once."""

    def __init__(self, store: Store, clock: Clock, walk: Walk, settings: CalendarSettings) -> None:
        self._store = store
        self._clock = clock
        self._walk = walk
        self._settings = settings
        self._waiting: dict[BatchId, _Waiting] = {}
        self._walking: dict[BatchId, tuple[Batch, Leash]] = {}
        self._stir = asyncio.Event()
        self._looked_at = float("-inf")

    @property
    def waiting(self) -> list[Batch]:
        """Those that do not walk now."""
        return [each.batch for each in self._waiting.values()]

    def notice(self, batch: Batch) -> None:
        """A batch was added, or a caller has cancelled it."""
        if batch.state.terminal:
            return
        if batch.id in self._walking:
            if batch.state is BatchState.CANCELLING:
                self._walking[batch.id][1].cancel()
        elif batch.id in self._waiting:
            self._waiting[batch.id].batch = batch
        else:
            self._waiting[batch.id] = _Waiting(batch)
        self._stir.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Walk batches until told to stop; return once every walk has left. What has not ended goes on next time."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(self._halt_all(stop))
            await self._look(loop.time())
            while not stop.is_set():
                self._start(group, loop.time())
                await self._stirred(loop.time())
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
        try:
            for batch in await self._store.batches.unended():
                self.notice(batch)
        except BatchyardError as error:
            _log.warning("calendar_cannot_look", extra={"reason": str(error)})

    def _start(self, group: asyncio.TaskGroup, now: float) -> None:
        """Let batches walk whose turn it is, while there is room."""
        while (batch := self._next(now)) is not None:
            waited, leash = self._waiting.pop(batch.id), Leash(self._settings.grace_seconds)
            self._walking[batch.id] = batch, leash
            group.create_task(self._walk_one(waited, leash))

    def _next(self, now: float) -> Batch | None:
        ready = [each.batch for each in self._waiting.values() if each.due <= now]
        walking, most = len(self._walking), self._settings.at_once
        if not ready or walking >= 2 * most:
            return None
        inflight = Counter(batch.project for batch, _ in self._walking.values())
        if walking >= most:
            ready = [batch for batch in ready if not inflight[batch.project] or self._only_ends(batch)]
        return self._first(ready, inflight) if ready else None

    def _first(self, ready: Iterable[Batch], inflight: Counter[ProjectId]) -> Batch:
        now = self._clock.now()
        return first(ready, lambda batch: standing_of(batch, inflight[batch.project], now))

    def _only_ends(self, batch: Batch) -> bool:
        """Whether a batch asks nothing of an engine any more."""
        past = batch.deadline_at is not None and batch.deadline_at <= self._clock.now()
        return past or batch.state in (BatchState.CANCELLING, BatchState.FINALIZING)

    async def _stirred(self, now: float) -> None:
        """Wait until something changes, or it is time to look."""
        dues = [each.due for each in self._waiting.values() if each.due > now]
        wake_at = min([*dues, self._looked_at + self._settings.look_seconds])
        with suppress(TimeoutError):
            async with asyncio.timeout_at(wake_at):
                await self._stir.wait()
        self._stir.clear()

    async def _walk_one(self, waited: _Waiting, leash: Leash) -> None:
        """One walk. Whatever stops it is said once, and the batch walks again later: an outage costs only time."""
        batch, loop = waited.batch, asyncio.get_running_loop()
        try:
            with logs.about(batch_id=batch.id, project=batch.project):
                await self._walk(batch, leash)
        except Exception as error:
            settings, reason = self._settings, _innermost(error)
            pause = min(settings.pause_seconds * 2.0 ** min(waited.failures, 16), settings.longest_pause_seconds)
            self._waiting[batch.id] = _Waiting(batch, loop.time() + pause, waited.failures + 1)
            told = {"batch_id": batch.id, "reason": str(reason), "again_in_seconds": pause}
            unknown = None if isinstance(reason, BatchyardError) else reason
            _log.warning("batch_cannot_go_on", extra=told, exc_info=unknown)
        finally:
            leash.close()
            del self._walking[batch.id]
            self._stir.set()


def _innermost(error: Exception) -> Exception:
    """A group of one, as task groups make it, is its one."""
    inner = cast("tuple[Exception, ...]", getattr(error, "exceptions", ()))
    return _innermost(inner[0]) if len(inner) == 1 else error
