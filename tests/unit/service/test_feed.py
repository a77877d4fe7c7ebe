"""Who hears what of batches, without doors."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from batchyard.domain.access import Caller, Quota, Role
from batchyard.domain.batch import Batch, BatchState
from batchyard.domain.errors import Forbidden, NotFound, Unavailable
from batchyard.domain.event import Event
from batchyard.service import feed as feeds
from batchyard.service.feed import PROGRESS, Feed, Listener, Told
from tests.support.house import House, open_house
from tests.support.tenants import OURS, START, THEIRS, THEM, US, a_batch, an_event, changed


def rendered(kind: str, at: int, batch: Batch, event: Event | None) -> bytes:
    return f"{kind} {batch.state} {batch.counts.completed}".encode()


@asynccontextmanager
async def telling() -> AsyncGenerator[tuple[House, Feed]]:
    house = await open_house()
    feed = Feed(house.store, house.clock, rendered)
    async with asyncio.TaskGroup() as group:
        duty = group.create_task(feed.run())
        yield house, feed
        duty.cancel()
    await house.store.close()


async def add(house: House, feed: Feed, **changes: object) -> Batch:
    batch = a_batch(**changes)
    await house.store.batches.add(batch, an_event(batch), Quota())
    feed.moved(batch)
    return batch


async def move(house: House, feed: Feed, batch: Batch, to: BatchState) -> Batch:
    moved = batch.move(to, START + 1)
    assert await house.store.batches.move(batch.state, moved, an_event(moved))
    feed.moved(moved)
    return moved


async def heard(listener: Listener, count: int) -> list[Told]:
    told = [await listener.next(5) for _ in range(count)]
    assert None not in told
    return [each for each in told if each]


async def test_all_who_listen_hear_it_and_it_is_rendered_once() -> None:
    async with telling() as (house, feed):
        batch = await add(house, feed)
        async with feed.listening(US, batch.id, None) as one, feed.listening(US, None, None) as all_of_it:
            assert [told.kind for told in (*one.first, *all_of_it.first)] == ["batch.validating"] * 2
            await move(house, feed, batch, BatchState.IN_PROGRESS)
            (first,), (second,) = await heard(one, 1), await heard(all_of_it, 1)
            assert first is second and first.data == b"batch.in_progress in_progress 0"
        assert feed.listeners == 0


async def test_nothing_is_told_twice_and_nothing_is_left_out() -> None:
    async with telling() as (house, feed):
        batch = await add(house, feed)
        numbers: list[int | None] = []
        async with feed.listening(US, batch.id, None) as listener:
            numbers += [told.number for told in listener.first]
            batch = await move(house, feed, batch, BatchState.IN_PROGRESS)
            numbers += [told.number for told in await heard(listener, 1)]
        batch = await move(house, feed, batch, BatchState.FINALIZING)
        await add(house, feed)
        async with feed.listening(US, batch.id, numbers[-1]) as listener:
            numbers += [told.number for told in listener.first]
            await move(house, feed, batch, BatchState.COMPLETED)
            (end,) = await heard(listener, 1)
        numbers.append(end.number)
        assert end.last and not any(told.last for told in listener.first)
        events = [n for n, event in await house.store.events.after(0, 99) if event.batch_id == batch.id]
        assert numbers == events


async def test_counts_are_told_as_the_store_has_them() -> None:
    async with telling() as (house, feed):
        batch = await move(house, feed, await add(house, feed), BatchState.IN_PROGRESS)
        async with feed.listening(US, batch.id, None) as listener:
            cancelling = await move(house, feed, batch, BatchState.CANCELLING)
            await house.store.batches.count(batch.id, changed(batch.counts, completed=3), batch.usage)
            feed.counted(batch)  # as the walk knows it, which has not heard of the cancel
            told = await heard(listener, 2)
            assert [each.kind for each in told] == ["batch.cancelling", PROGRESS]
            assert told[1].data == b"batch.progress cancelling 3" and told[1].number is None
            assert cancelling.state is BatchState.CANCELLING


async def test_nobody_hears_of_another_project() -> None:
    async with telling() as (house, feed):
        batch = await add(house, feed)
        with pytest.raises(NotFound):
            async with feed.listening(THEM, batch.id, None):
                pass
        with pytest.raises(Forbidden):
            async with feed.listening(Caller(OURS, Role.DATASETS_EDITOR), None, None):
                pass
        async with feed.listening(THEM, None, 0) as theirs:
            await move(house, feed, batch, BatchState.IN_PROGRESS)
            own = await add(house, feed, project=THEIRS)
            assert [told.data for told in await heard(theirs, 1)] == [b"batch.validating validating 0"]
            assert own.project == THEIRS
        assert feed.listeners == 0


async def test_a_listener_that_does_not_keep_up_is_shut_out_and_others_are_not() -> None:
    async with telling() as (house, feed):
        batch = await add(house, feed)
        async with feed.listening(US, batch.id, None) as slow, feed.listening(US, batch.id, None) as quick:
            for _ in range(feeds.MAILBOX + 1):
                feed.counted(batch)
                await heard(quick, 1)
            assert slow.closed.is_set() and not quick.closed.is_set()
            assert await slow.next(5) is None


async def test_who_has_missed_too_much_gets_the_present_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "REPLAYED", 3)
    monkeypatch.setattr(feeds, "READ_AT_ONCE", 2)
    async with telling() as (house, feed):
        for _ in range(4):
            await add(house, feed)
        async with feed.listening(US, None, 1) as listener:
            assert len(listener.first) == 3
            assert [told.number for told in listener.first] == [2, 3, 4]
        async with feed.listening(US, None, 0) as listener:
            assert [told.number for told in listener.first] == [4] * 4
        async with feed.listening(US, None, 99) as listener:  # of another server's life
            assert [told.number for told in listener.first] == [4] * 4


async def test_more_than_a_server_bears_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LISTENERS", 1)
    async with telling() as (_, feed), feed.listening(US, None, None):
        with pytest.raises(Unavailable):
            async with feed.listening(US, None, None):
                pass


async def test_what_nobody_listens_to_is_not_rendered() -> None:
    def never(*_: object) -> bytes:
        raise AssertionError

    house = await open_house()
    feed = Feed(house.store, house.clock, never)
    batch = await add(house, feed)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await feed.run()
    feed.counted(await move(house, feed, batch, BatchState.IN_PROGRESS))
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await feed.run()
    await house.store.close()


async def test_what_a_listener_began_with_is_not_told_again() -> None:
    house = await open_house()
    feed = Feed(house.store, house.clock, rendered)
    async with feed.listening(US, None, None) as early:  # from here on things are told
        batch = await add(house, feed)
        async with feed.listening(US, batch.id, None) as late, asyncio.TaskGroup() as group:
            duty = group.create_task(feed.run())
            assert [told.kind for told in (*late.first, *await heard(early, 1))] == ["batch.validating"] * 2
            await move(house, feed, batch, BatchState.IN_PROGRESS)
            assert [told.kind for told in await heard(late, 1)] == ["batch.in_progress"]
            duty.cancel()
    await house.store.close()
