"""The dispatch station: keeps as many requests in flight as the pace allows, retries, and hands results to the journal.

A few slot coroutines carry the lines (no task per request); the station's own coroutine starts slots whenever more may
be in flight than are. Every line that was taken ends in exactly one result, unless the run stops first: then it has
none, and the next run takes it again.
"""

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import cast

from batchyard.config import DispatchSettings
from batchyard.domain.errors import BatchyardError, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Outcome, Reply, Result
from batchyard.engine import Abilities, Engine
from batchyard.journal import Journal
from batchyard.pipeline.backlog import Backlog, Carried, Held
from batchyard.pipeline.slots import Slot, Slots
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.throttle import Throttle
from batchyard.policy.pace import first_pace
from batchyard.policy.retry import REQUEST_TIMEOUT, Again, judge

FILLED_AT_A_TURN = 64
"""Slots that are started within one turn of the event loop: others want to be served, too."""

_log = logging.getLogger(__name__)


async def dispatch(
    requests: Iterator[Request],
    engine: Engine,
    abilities: Abilities,
    journal: Journal,
    settings: DispatchSettings,
    tally: Tally,
    stop: Stop,
    *,
    random: Random,
    held: Held | None = None,
) -> None:
    """Answer all requests; return when each has its result in the journal, or when the run was stopped.

    `stop.asked`: nothing new is sent, what is in flight may end. `stop.now`: that is given up, too. Raises Unavailable
    where the engine cannot be reached for `engine_down_seconds` or the journal cannot be written, and whatever
    `requests` raises; results so far are kept. `held` counts what is in memory together with other stations.
    """
    station = _Dispatch(requests, engine, abilities, journal, settings, tally, stop, random, held or Held())
    try:
        await station.run()
    except BaseExceptionGroup as group:
        raise _first(group) from None


class _Dispatch:
    def __init__(
        self,
        requests: Iterator[Request],
        engine: Engine,
        abilities: Abilities,
        journal: Journal,
        settings: DispatchSettings,
        tally: Tally,
        stop: Stop,
        random: Random,
        held: Held,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._journal = journal
        self._settings = settings
        self._tally = tally
        self._stop = stop
        self._random = random
        self._backlog = Backlog(requests, held)
        self._slots = Slots(settings.request_timeout_seconds)
        self._stir = asyncio.Event()  # something has changed: more may be sent, or all is done
        pace = first_pace(abilities.slots, settings.max_inflight)
        self._throttle = Throttle(pace, settings, tally, random, self._loop.time(), self._stir.set)
        self._bugs: set[str] = set()

    # The station's own coroutine: start slots, wait until something changes

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch_stop())
                while not self._over():
                    now = self._loop.time()
                    self._fill(group, now)
                    await self._stirred(now)
                watch.cancel()
        finally:
            self._slots.close()
            self._backlog.close()

    async def _watch_stop(self) -> None:
        await self._stop.asked.wait()
        self._stir.set()
        await self._stop.now.wait()
        self._slots.cancel()

    def _over(self) -> bool:
        return not self._slots and (self._stop.asked.is_set() or self._backlog.empty)

    def _fill(self, group: asyncio.TaskGroup, now: float) -> None:
        """Start slots while more may be sent."""
        for _ in range(FILLED_AT_A_TURN):
            if len(self._slots) >= self._throttle.allowed or (line := self._take(now)) is None:
                return
            slot = Slot()
            self._slots.add(slot)
            slot.task = group.create_task(self._carry(slot, line))
            slot.task.add_done_callback(partial(self._ended, slot))
        self._loop.call_soon(self._stir.set)

    async def _stirred(self, now: float) -> None:
        """Wait for a change, or for the moment at which a line that waits may be sent."""
        due = self._next_due(now)
        alarm = self._loop.call_at(due, self._stir.set) if due is not None else None
        try:
            await self._stir.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
        self._stir.clear()

    def _next_due(self, now: float) -> float | None:
        """None where nothing waits for a moment, or a slot that ends will come by anyway."""
        if len(self._slots) >= self._throttle.allowed or self._stop.asked.is_set():
            return None
        if self._throttle.hold_until > now:
            return self._throttle.hold_until
        due = self._backlog.next_due()
        return due if due is not None and due > now else None

    def _take(self, now: float) -> Carried | None:
        if self._stop.asked.is_set() or now < self._throttle.hold_until:
            return None
        return self._backlog.take(now)

    # A slot

    async def _carry(self, slot: Slot, first: Carried) -> None:
        """Carry lines, one after another, until there is none or there are too many slots."""
        line: Carried | None = first
        while line is not None:
            await self._serve(slot, line)
            spare = self._throttle.allowed - len(self._slots)
            if spare > 0:
                self._stir.set()
            line = self._take(self._loop.time()) if spare >= 0 else None

    def _ended(self, slot: Slot, _: asyncio.Task[None]) -> None:
        """However it ended, and be it that it was cancelled before it began."""
        self._slots.remove(slot)
        self._stir.set()

    async def _serve(self, slot: Slot, line: Carried) -> None:
        """One attempt, and what follows from it."""
        attempt = self._throttle.attempt()
        began = self._loop.time()
        reply = await self._ask(slot, line, began)
        now = self._loop.time()
        if isinstance(reply, Answer) and reply.ok:
            self._throttle.served(now)
            self._record(line, reply, now - began)
        else:
            self._count(reply)
            self._throttle.failed(reply, attempt, now)
            self._judge(line, reply, began, now)
        await self._journal.room()

    async def _ask(self, slot: Slot, line: Carried, now: float) -> Reply:
        """Whatever happens in the engine comes back as a value; only being stopped is raised."""
        line.attempts += 1
        self._tally.inflight += 1
        self._slots.begin(slot, now)
        try:
            reply = await self._engine.infer(line.request)
        except asyncio.CancelledError:
            if not self._slots.end(slot):
                raise
            reply = _too_late(self._settings.request_timeout_seconds)
        except Unavailable:
            raise  # the engine is gone for good: that ends the run, not the line
        except Exception as error:
            reply = self._bug(error)
        finally:
            self._tally.inflight -= 1
        self._slots.end(slot)
        return reply

    def _judge(self, line: Carried, reply: Reply, began: float, now: float) -> None:
        """Ask again later, or take the reply for the last word."""
        verdict = judge(reply, line.past, self._settings, self._random)
        if isinstance(verdict, Again):
            if _fault(reply) is Fault.DOWN:
                line.attempts -= 1  # it was never taken
            else:
                self._tally.retries += 1
            self._backlog.again(line, verdict, now + verdict.after_seconds)
        elif not (self._stop.asked.is_set() and _fault(verdict) is Fault.CANCELLED):
            self._record(line, verdict, now - began)

    def _record(self, line: Carried, reply: Reply, seconds: float) -> None:
        """The line's one result: into the journal first, then into the count."""
        request, tally = line.request, self._tally
        succeeded = isinstance(reply, Answer) and reply.ok
        outcome = Outcome.SUCCEEDED if succeeded else Outcome.ERRORED
        self._journal.append(Result(request.line, request.custom_id, outcome, reply, max(1, line.attempts), seconds))
        self._backlog.done(line)
        if isinstance(reply, Failure) or not succeeded:
            tally.errored += 1
            return
        tally.succeeded += 1
        usage = reply.usage
        tally.input_tokens += usage.input_tokens
        tally.output_tokens += usage.output_tokens
        tally.cached_tokens += usage.cached_tokens

    def _count(self, reply: Reply) -> None:
        code = f"http_{reply.status}" if isinstance(reply, Answer) else reply.code
        self._tally.failures[code] = self._tally.failures.get(code, 0) + 1

    def _bug(self, error: Exception) -> Failure:
        """The engine broke its promise not to raise: told once for each kind, and the line ends."""
        name = type(error).__name__
        if name not in self._bugs:
            self._bugs.add(name)
            _log.error("the engine raised %s; the line ends as an internal error", name, exc_info=error)
        return Failure("internal", f"The engine failed with {name}, which is a fault in Batchyard.")


def _too_late(seconds: float) -> Failure:
    return Failure(REQUEST_TIMEOUT, f"No answer within {seconds:g} seconds.", Fault.LOST)


def _fault(reply: Reply) -> Fault | None:
    return reply.fault if isinstance(reply, Failure) else None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell of several: the first that is fit for the caller, else the first."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, BatchyardError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    group = cast("BaseExceptionGroup[BaseException]", error)
    for inner in group.exceptions:
        yield from _leaves(inner)
