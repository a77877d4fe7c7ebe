"""Which batches walk, and when; the walks themselves are played."""

import asyncio
import logging
from itertools import pairwise

import pytest

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.batch import Batch, BatchState
from batchyard.domain.errors import Unavailable
from batchyard.domain.result import Outcome
from batchyard.pipeline.calendar import Calendar, CalendarSettings
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.notice import NoticedStore
from batchyard.stores import sqlite
from tests.support.tenants import OURS, START, THEIRS, FakeClock, TurnsOffload, a_batch, a_project, an_event
from tests.support.virtual_time import in_virtual_time


class Walks:
    """Every walk goes on until a test ends it."""

    def __init__(self) -> None:
        self.begun: list[Batch] = []
        self.now: dict[str, tuple[Leash, asyncio.Future[None]]] = {}
        self.most = 0

    async def __call__(self, batch: Batch, leash: Leash) -> None:
        self.begun.append(batch)
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.now[batch.id] = leash, end
        self.most = max(self.most, len(self.now))
        leave = asyncio.ensure_future(leash.stop.now.wait())  # noqa: TID251 - ended below
        await asyncio.wait({end, leave}, return_when=asyncio.FIRST_COMPLETED)
        leave.cancel()
        del self.now[batch.id]
        if end.done():
            end.result()

    def end(self, batch: Batch, error: Exception | None = None) -> None:
        end = self.now[batch.id][1]
        end.set_exception(error) if error else end.set_result(None)

    def leash(self, batch: Batch) -> Leash:
        return self.now[batch.id][0]


class House:
    """A store, a calendar, and walks."""

    def __init__(self, store: sqlite.SqliteStore, settings: CalendarSettings) -> None:
        self.store, self.walks, self.clock, self.stop = store, Walks(), FakeClock(), asyncio.Event()
        self.calendar = Calendar(store, self.clock, self.walks, settings)
        self.noticed = NoticedStore(store, self.calendar.notice)

    async def add(self, project: ProjectId = OURS, **changes: object) -> Batch:
        batch = a_batch(project=project, **changes)
        return await self.noticed.batches.add(batch, an_event(batch), Quota())

    async def cancel(self, batch: Batch) -> None:
        after = batch.move(BatchState.CANCELLING, START)
        assert await self.noticed.batches.move(batch.state, after, an_event(after))


async def a_house(**settings: float) -> House:
    store = await sqlite.open(sqlite.Config(path=":memory:"), TurnsOffload())
    for project in (OURS, THEIRS):
        await store.projects.add(a_project(project))
    return House(store, CalendarSettings(**settings))  # pyright: ignore[reportArgumentType]


async def turns() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def stopped(house: House) -> None:
    house.stop.set()
    await turns()


async def test_what_has_not_ended_walks_after_a_restart() -> None:
    house = await a_house()
    waiting = await house.add()
    async with asyncio.TaskGroup() as group:
        group.create_task(house.calendar.run(house.stop))
        await turns()
        assert [batch.id for batch in house.walks.begun] == [waiting.id]
        house.walks.end(waiting)
        await stopped(house)


async def test_a_new_batch_walks_at_once() -> None:
    house = await a_house()
    async with asyncio.TaskGroup() as group:
        group.create_task(house.calendar.run(house.stop))
        await turns()
        made = await house.add()
        await turns()
        assert list(house.walks.now) == [made.id]
        house.walks.end(made)
        await stopped(house)


async def test_only_so_many_walk_at_once_and_the_nearest_deadline_goes_first() -> None:
    house = await a_house(at_once=2)
    made = [await house.add(deadline_at=START + 1000 - n) for n in range(5)]
    async with asyncio.TaskGroup() as group:
        group.create_task(house.calendar.run(house.stop))
        for batch in reversed(made):
            await turns()
            house.walks.end(batch)
        await turns()
        await stopped(house)
    assert [batch.id for batch in house.walks.begun] == [batch.id for batch in reversed(made)]
    assert house.walks.most == 2


async def test_a_project_without_a_walk_has_room_beside_one_with_many() -> None:
    house = await a_house(at_once=2)
    ours = [await house.add() for _ in range(6)]
    async with asyncio.TaskGroup() as group:
        group.create_task(house.calendar.run(house.stop))
        await turns()
        theirs, more = await house.add(THEIRS), await house.add(THEIRS)
        await turns()
        assert set(house.walks.now) == {ours[0].id, ours[1].id, theirs.id}
        house.walks.end(ours[0])
        await turns()
        assert set(house.walks.now) == {ours[1].id, theirs.id}
        house.walks.end(ours[1])
        await turns()
        assert len(house.walks.now) == 2 and theirs.id in house.walks.now and more.id not in house.walks.now
        house.stop.set()
        await turns()
        for batch in house.walks.begun:
            if batch.id in house.walks.now:
                house.walks.end(batch)


async def test_a_cancel_reaches_a_walk_and_one_that_waits_has_room_to_end() -> None:
    house = await a_house(at_once=1)
    running, waiting = await house.add(), await house.add()
    async with asyncio.TaskGroup() as group:
        group.create_task(house.calendar.run(house.stop))
        await turns()
        await house.cancel(running)
        assert house.walks.leash(running).outcome is Outcome.CANCELLED
        await house.cancel(waiting)
        await turns()
        assert [(batch.id, batch.state) for batch in house.walks.begun[1:]] == [(waiting.id, BatchState.CANCELLING)]
        house.walks.end(running)
        house.walks.end(waiting)
        await stopped(house)


async def test_before_an_engine_has_come_only_what_needs_none_walks() -> None:
    house = await a_house()
    house.calendar.wait_for_engines()
    waiting, cancelled = await house.add(), await house.add()
    async with asyncio.TaskGroup() as group:
        group.create_task(house.calendar.run(house.stop))
        await turns()
        assert not house.walks.begun
        await house.cancel(cancelled)
        await turns()
        assert list(house.walks.now) == [cancelled.id]
        house.calendar.engines_have_come()
        await turns()
        assert set(house.walks.now) == {cancelled.id, waiting.id}
        for batch in (waiting, cancelled):
            house.walks.end(batch)
        await stopped(house)


async def test_a_batch_that_was_put_off_ends_at_once_when_it_is_cancelled() -> None:
    house = await a_house(pause_seconds=1000, longest_pause_seconds=1000)
    batch = await house.add()
    async with asyncio.TaskGroup() as group:
        group.create_task(house.calendar.run(house.stop))
        await turns()
        house.walks.end(batch, Unavailable("The engine is away."))
        await turns()
        assert not house.walks.now
        await house.cancel(batch)
        await turns()
        assert [each.state for each in house.walks.begun] == [BatchState.VALIDATING, BatchState.CANCELLING]
        house.walks.end(batch)
        await stopped(house)


def test_a_walk_that_fails_is_tried_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def walk() -> list[float]:
        house, loop = await a_house(pause_seconds=1, longest_pause_seconds=8), asyncio.get_running_loop()
        made, times = await house.add(), list[float]()
        async with asyncio.TaskGroup() as group:
            group.create_task(house.calendar.run(house.stop))
            for number in range(6):
                while made.id not in house.walks.now:  # noqa: ASYNC110 - this time is virtual
                    await asyncio.sleep(0.25)
                times.append(loop.time())
                error = Unavailable("The engine is away.") if number % 2 else ValueError("a bug")
                house.walks.end(made, error if number < 5 else None)
                await turns()
            await stopped(house)
        return times

    times = in_virtual_time(walk())
    pauses = [after - before for before, after in pairwise(times)]
    assert all(pause <= seen <= pause + 0.5 for pause, seen in zip((1, 2, 4, 8, 8), pauses, strict=True))


def test_a_batch_that_nobody_told_of_is_found() -> None:
    async def walk() -> None:
        house = await a_house(look_seconds=30)
        async with asyncio.TaskGroup() as group:
            group.create_task(house.calendar.run(house.stop))
            await asyncio.sleep(1)
            batch = a_batch()
            await house.store.batches.add(batch, an_event(batch), Quota())
            await asyncio.sleep(30)
            assert list(house.walks.now) == [batch.id]
            after = batch.move(BatchState.CANCELLING, START)
            await house.store.batches.move(batch.state, after, an_event(after))
            await asyncio.sleep(30)
            assert house.walks.leash(batch).outcome is Outcome.CANCELLED
            house.walks.end(batch)
            await stopped(house)

    in_virtual_time(walk())


def test_a_stop_halts_every_walk_and_waits_for_them() -> None:
    async def walk() -> float:
        house, loop = await a_house(halt_seconds=7, grace_seconds=100), asyncio.get_running_loop()
        made = [await house.add() for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            running = group.create_task(house.calendar.run(house.stop))
            await asyncio.sleep(1)
            await house.cancel(made[0])
            house.stop.set()
            await asyncio.sleep(1)
            assert not running.done() and all(leash.halted for leash, _ in house.walks.now.values())
            await running
            return loop.time()

    assert in_virtual_time(walk()) == pytest.approx(8, abs=0.1)  # pyright: ignore[reportUnknownMemberType]
