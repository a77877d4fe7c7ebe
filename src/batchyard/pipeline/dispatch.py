"""The dispatch station: keeps as many requests in flight as the pace allows, retries, and hands results to the journal.

A few slot coroutines carry the lines (no task per request); the station's own coroutine starts slots whenever more may
be in flight than are. Every line that was taken ends in exactly one result, unless the run stops first: then it has
none, and the next run takes it again.

A call to the engine may be for a group of lines; what comes back is a reply to each of them, and the rest happens line
by line. What is in flight is counted in lines where the engine says how many slots it has, elsewhere in calls.
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
from batchyard.endpoint import Loose
from batchyard.engine import Abilities, Engine
from batchyard.journal import Journal
from batchyard.pipeline.backlog import Backlog, Carried, Group, Held
from batchyard.pipeline.group import Groups, Trial
from batchyard.pipeline.slots import Slot, Slots
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.throttle import Throttle
from batchyard.policy.group import OVERLOADS_BEFORE_SMALLER, Fate, fate
from batchyard.policy.pace import first_pace
from batchyard.policy.retry import REQUEST_TIMEOUT, Again, judge

FILLED_AT_A_TURN = 64
"""Lines that are sent within one turn of the event loop, but for a group: others want to be served, too."""
RECORDED_AT_A_TURN = 16
"""Lines of a group that get their results within one turn."""

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
    groups: Groups | None = None,
) -> None:
    """Answer all requests; return when each has its result in the journal, or when the run was stopped.

    `stop.asked`: nothing new is sent, what is in flight may end. `stop.now`: that is given up, too. Raises Unavailable
    where the engine cannot be reached for `engine_down_seconds` or the journal cannot be written, and whatever
    `requests` raises; results so far are kept. `held` counts what is in memory together with other stations. With
    `groups`, what the engine takes together is asked together.
    """
    station = _Dispatch(requests, engine, abilities, journal, settings, tally, stop, random, held or Held(), groups)
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
        groups: Groups | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._journal = journal
        self._settings = settings
        self._tally = tally
        self._stop = stop
        self._random = random
        self._groups = groups
        self._counts_lines = abilities.slots is not None
        self._backlog = Backlog(requests, held, groups)
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
        sent = 0
        while sent < FILLED_AT_A_TURN:
            if self._slots.weight >= self._throttle.allowed or not (lines := self._take(now)):
                return
            slot = Slot()
            self._slots.add(slot)
            self._slots.weigh(slot, self._weight(lines))
            slot.task = group.create_task(self._carry(slot, lines))
            slot.task.add_done_callback(partial(self._ended, slot))
            sent += len(lines)
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
        if self._slots.weight >= self._throttle.allowed or self._stop.asked.is_set():
            return None
        if self._throttle.hold_until > now:
            return self._throttle.hold_until
        due = self._backlog.next_due()
        return due if due is not None and due > now else None

    def _take(self, now: float) -> Group:
        if self._stop.asked.is_set() or now < self._throttle.hold_until:
            return []
        return self._backlog.take(now)

    # A slot

    async def _carry(self, slot: Slot, first: Group) -> None:
        """Carry lines, one group after another, until there is none or there are too many slots."""
        lines = first
        while lines:
            await self._serve(slot, lines)
            self._slots.weigh(slot, 0)
            lines = self._take(self._loop.time()) if self._slots.weight < self._throttle.allowed else []
            self._slots.weigh(slot, self._weight(lines))
            if self._slots.weight < self._throttle.allowed:
                self._stir.set()

    def _weight(self, lines: Group) -> int:
        """What a call counts for."""
        return len(lines) if self._counts_lines else min(1, len(lines))

    def _ended(self, slot: Slot, _: asyncio.Task[None]) -> None:
        """However it ended, and be it that it was cancelled before it began."""
        self._slots.remove(slot)
        self._stir.set()

    async def _serve(self, slot: Slot, lines: Group) -> None:
        """One attempt, and what follows from it."""
        attempt = self._throttle.attempt()
        began = self._loop.time()
        reply = await self._ask(slot, lines, began)
        now = self._loop.time()
        if isinstance(reply, Answer) and reply.ok:
            self._throttle.served(now, slot.weight)
        else:
            self._count(reply, lines)
            self._throttle.failed(reply, attempt, now, slot.weight)
        if len(lines) == 1:
            self._settle(lines[0], reply, began, now)
        else:
            await self._settle_each(lines, reply, began, now)
        await self._journal.room()

    async def _ask(self, slot: Slot, lines: Group, now: float) -> Reply:
        """Whatever happens in the engine comes back as a value; only being stopped is raised."""
        for line in lines:
            line.attempts += 1
        self._tally.inflight += slot.weight
        self._slots.begin(slot, now)
        try:
            reply = await self._engine.infer(self._request(lines))
        except asyncio.CancelledError:
            if not self._slots.end(slot):
                raise
            reply = _too_late(self._settings.request_timeout_seconds)
        except Unavailable:
            raise  # the engine is gone for good: that ends the run, not the line
        except Exception as error:
            reply = self._bug(error)
        finally:
            self._tally.inflight -= slot.weight
        self._slots.end(slot)
        return reply

    def _request(self, lines: Group) -> Request:
        first = lines[0].request
        return first if len(lines) == 1 or self._groups is None else self._groups.joined(first, _loose(lines))

    def _settle(self, line: Carried, reply: Reply, began: float, now: float) -> None:
        """What the reply to a line means for it."""
        if not isinstance(reply, Answer) or not reply.ok:
            self._judge(line, reply, began, now)
            return
        if self._groups is not None and line.loose is not None:
            self._groups.answered(1, len(reply.body), now - began)
        self._record(line, reply, now - began)

    async def _settle_each(self, lines: Group, reply: Reply, began: float, now: float) -> None:
        """What the reply to a call means for each line of its group."""
        if isinstance(reply, Answer) and reply.ok:
            replies = self._replies(lines, reply, now - began)
            if replies is None:
                self._again_in_halves(lines)
                return
            for number, (line, its) in enumerate(zip(lines, replies, strict=True)):
                if number and number % RECORDED_AT_A_TURN == 0:
                    await asyncio.sleep(0)
                self._record(line, its, now - began)
            return
        match fate(reply):
            case Fate.SMALLER:
                self._again_in_halves(lines)
                return
            case Fate.APART:
                trial = Trial(len(lines)) if _is_late(reply) else None
                for line in lines:
                    line.most, line.trial = 1, trial
            case Fate.SHARED:
                _shrink_if_always_put_off(lines)
        for line in lines:
            self._judge(line, reply, began, now)

    def _replies(self, lines: Group, answer: Answer, seconds: float) -> list[Reply] | None:
        assert self._groups is not None
        return self._groups.replies(answer, _loose(lines), seconds)

    def _again_in_halves(self, lines: Group) -> None:
        """Ask the lines of a group again, in smaller ones; no line has been asked by itself yet, so none pays."""
        half, trial = len(lines) // 2, Trial(len(lines))
        for line in lines:
            line.most, line.trial = half, trial
            line.attempts -= 1
            self._backlog.again(line, Again(line.past, 0.0), 0.0)

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
        if line.trial is not None and self._groups is not None:
            self._groups.ended(line.trial, succeeded=succeeded)
        if isinstance(reply, Failure) or not succeeded:
            tally.errored += 1
            return
        tally.succeeded += 1
        usage = reply.usage
        tally.input_tokens += usage.input_tokens
        tally.output_tokens += usage.output_tokens
        tally.cached_tokens += usage.cached_tokens

    def _count(self, reply: Reply, lines: Group) -> None:
        if len(lines) > 1 and fate(reply) is Fate.SMALLER:
            return  # no attempt of any line has failed yet
        code = f"http_{reply.status}" if isinstance(reply, Answer) else reply.code
        self._tally.failures[code] = self._tally.failures.get(code, 0) + len(lines)

    def _bug(self, error: Exception) -> Failure:
        """The engine broke its promise not to raise: told once for each kind, and the line ends."""
        name = type(error).__name__
        if name not in self._bugs:
            self._bugs.add(name)
            _log.error("the engine raised %s; the line ends as an internal error", name, exc_info=error)
        return Failure("internal", f"The engine failed with {name}, which is a fault in Batchyard.")


def _too_late(seconds: float) -> Failure:
    return Failure(REQUEST_TIMEOUT, f"No answer within {seconds:g} seconds.", Fault.LOST)


def _is_late(reply: Reply) -> bool:
    return isinstance(reply, Failure) and reply.code == REQUEST_TIMEOUT


def _loose(lines: Group) -> list[Loose]:
    return [line.loose for line in lines if line.loose is not None]


def _shrink_if_always_put_off(lines: Group) -> None:
    for line in lines:
        if line.past.overloads >= OVERLOADS_BEFORE_SMALLER:
            line.most = len(lines) // 2


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
