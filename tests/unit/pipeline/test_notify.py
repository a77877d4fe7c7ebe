"""What reaches endpoints, when, and how often: in virtual time, with endpoints that are played."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.batch import Batch, BatchState
from batchyard.domain.errors import Unavailable
from batchyard.domain.event import Event
from batchyard.domain.hooks import Hooks
from batchyard.domain.webhook import WebhookEndpoint
from batchyard.pipeline.notify import Notify, NotifySettings
from batchyard.stores import sqlite
from tests.support.tenants import OURS, START, THEIRS, TurnsOffload, a_batch, a_project, an_endpoint, an_event
from tests.support.virtual_time import in_virtual_time

HOUR = 3_600
RARELY: dict[str, Any] = {"look_seconds": 30.0}
"""Days of virtual time go by faster where the store is asked less often."""


class LoopClock:
    """The date goes with the loop's time."""

    def now(self) -> float:
        return START + asyncio.get_running_loop().time()


class Endpoints:
    """Each answers as its name says: a status, `slow`, `down`, `hangs`, or `broken` in a way that nobody foresaw.

    A batch's own hook has no name: its URL says it.
    """

    def __init__(self) -> None:
        self.came: list[tuple[float, str, str]] = []
        self.now = 0
        self.most = 0
        self.answers: dict[str, list[int]] = {}

    async def carry(self, endpoint: WebhookEndpoint, event: Event) -> int:
        name = endpoint.name or endpoint.url
        self.came.append((asyncio.get_running_loop().time(), name, event.id))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._answer(name)
        finally:
            self.now -= 1

    async def _answer(self, name: str) -> int:
        if self.answers.get(name):
            return self.answers[name].pop(0)
        match name.split()[0]:
            case "down":
                raise Unavailable("nobody listens")
            case "broken":
                raise RuntimeError("a bug")
            case "hangs":
                await asyncio.sleep(10)
                raise Unavailable("no answer")
            case "slow":
                await asyncio.sleep(0.3)
                return 200
            case status:
                return int(status)

    def times(self, name: str) -> list[float]:
        return [time for time, came, _ in self.came if came == name]

    def events(self, name: str) -> list[str]:
        return [event for _, came, event in self.came if came == name]


class House:
    def __init__(self, store: sqlite.SqliteStore, **settings: Any) -> None:
        self.store, self.endpoints = store, Endpoints()
        self.notify = Notify(store, LoopClock(), Random(3), self.endpoints.carry, NotifySettings(**settings))

    async def endpoint(self, name: str, project: ProjectId = OURS) -> WebhookEndpoint:
        made = an_endpoint(name=name, project=project)
        await self.store.webhooks.add(made, 1_000)
        return made

    async def ended(self, project: ProjectId = OURS, hooks: Hooks | None = None) -> Event:
        now = int(LoopClock().now())
        batch: Batch = a_batch(project=project, created_at=now, hooks=hooks)
        await self.store.batches.add(batch, an_event(batch), Quota(batches=10_000))
        after = batch.move(BatchState.FAILED, now)
        event = an_event(after)
        assert await self.store.batches.move(batch.state, after, event)
        return event

    @asynccontextmanager
    async def notifying(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.notify.run())
            try:
                yield
            finally:
                task.cancel()


async def a_house(path: str = ":memory:", **settings: Any) -> House:
    store = await sqlite.open(sqlite.Config(path=path), TurnsOffload())
    if not await store.projects.list():
        for project in (OURS, THEIRS):
            await store.projects.add(a_project(project))
    return House(store, **settings)


def test_each_event_reaches_each_endpoint_once() -> None:
    async def walk() -> None:
        house = await a_house()
        await house.endpoint("200")
        await house.endpoint("204 too")
        await house.endpoint("200 theirs", THEIRS)
        first = await house.ended()
        async with house.notifying():
            await asyncio.sleep(5)
            second = await house.ended()
            await asyncio.sleep(500)
        for name in ("200", "204 too"):
            assert house.endpoints.events(name) == [first.id, second.id]
        assert not house.endpoints.events("200 theirs")
        await house.store.close()

    in_virtual_time(walk())


@pytest.mark.parametrize("name", ["500", "302", "404", "410", "down", "hangs", "broken"])
def test_what_is_not_taken_is_tried_for_three_days_and_then_given_up(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def walk() -> None:
        house = await a_house(**RARELY)
        await house.endpoint(name)
        event = await house.ended()
        async with house.notifying():
            await asyncio.sleep(80 * HOUR)
        times = house.endpoints.times(name)
        assert set(house.endpoints.events(name)) == {event.id}
        assert times[0] == 0 and 72 * HOUR <= times[-1] <= 72 * HOUR + 40 and 20 < len(times) < 100
        assert await house.store.webhooks.due(START + 999 * HOUR, 1) == []
        await house.store.close()

    with caplog.at_level(logging.WARNING, "batchyard.pipeline.notify"):
        in_virtual_time(walk())
    (given_up,) = [record for record in caplog.records if record.getMessage() == "webhook_given_up"]
    assert vars(given_up)["attempts"] > 20 and "whsec" not in caplog.text


def test_what_is_taken_at_last_is_not_sent_again() -> None:
    async def walk() -> None:
        house = await a_house(**RARELY)
        await house.endpoint("200")
        house.endpoints.answers["200"] = [503, 302, 429]
        await house.ended()
        async with house.notifying():
            await asyncio.sleep(100 * HOUR)
        times = house.endpoints.times("200")
        assert len(times) == 4 and times[3] <= 120
        await house.store.close()

    in_virtual_time(walk())


def test_a_slow_endpoint_holds_nobody_up() -> None:
    async def walk() -> None:
        house = await a_house()
        await house.endpoint("hangs")
        await house.endpoint("200")
        async with house.notifying():
            for _ in range(300):
                await house.ended()
            await asyncio.sleep(2)
            assert len(set(house.endpoints.events("200"))) == 300
            assert len(house.endpoints.events("hangs")) == 4
            assert house.endpoints.most <= 8
        await house.store.close()

    in_virtual_time(walk())


def test_a_project_with_many_slow_endpoints_leaves_room_for_others() -> None:
    async def walk() -> None:
        house = await a_house(at_once=10, of_project=6, of_endpoint=2)
        for number in range(9):
            await house.endpoint(f"hangs {number}")
        await house.endpoint("200", THEIRS)
        for _ in range(20):
            await house.ended()
        async with house.notifying():
            await asyncio.sleep(5)
            event = await house.ended(THEIRS)
            await asyncio.sleep(1.5)
            assert house.endpoints.events("200") == [event.id]
            assert house.endpoints.most <= 10
        await house.store.close()

    in_virtual_time(walk())


def test_own_hooks_of_many_batches_at_a_slow_receiver_hold_nobody_up() -> None:
    async def walk() -> None:
        house = await a_house()
        await house.endpoint("200")
        for _ in range(100):
            await house.ended(hooks=Hooks(uris=("hangs",)))
        async with house.notifying():
            await asyncio.sleep(2)
            event = await house.ended()
            await asyncio.sleep(2)
            assert house.endpoints.events("200") == [event.id]
            assert len(house.endpoints.events("hangs")) == 4
        await house.store.close()

    in_virtual_time(walk())


def test_a_deleted_endpoint_hears_nothing_more() -> None:
    async def walk() -> None:
        house = await a_house(**RARELY)
        endpoint = await house.endpoint("down")
        await house.ended()
        async with house.notifying():
            await asyncio.sleep(HOUR)
            tried = len(house.endpoints.came)
            assert tried > 5 and await house.store.webhooks.delete(OURS, endpoint.id, START)
            await asyncio.sleep(100 * HOUR)
            assert len(house.endpoints.came) == tried
        await house.store.close()

    in_virtual_time(walk())


def test_what_was_pending_goes_on_after_a_restart_under_the_same_id(tmp_path: Path) -> None:
    """The first life ends between the event and its delivery, the second in the middle of an attempt."""
    path = str(tmp_path / "facts.db")

    async def event() -> Event:
        house = await a_house(path)
        await house.endpoint("hangs")
        await house.endpoint("200")
        ended = await house.ended()
        own.append(await house.ended(hooks=Hooks(uris=("hangs on", "204"))))
        await house.store.close()
        return ended

    async def killed() -> None:
        house = await a_house(path)
        async with house.notifying():
            await asyncio.sleep(3)
        assert house.endpoints.events("hangs") == house.endpoints.events("200") == [wanted.id]
        assert house.endpoints.events("hangs on") == house.endpoints.events("204") == [own[0].id]
        await house.store.close()

    async def after() -> None:
        house = await a_house(path)
        async with house.notifying():
            await asyncio.sleep(3)
        assert house.endpoints.events("hangs") == [wanted.id] and house.endpoints.events("200") == []
        assert house.endpoints.events("hangs on") == [own[0].id] and house.endpoints.events("204") == []
        await house.store.close()

    own: list[Event] = []
    wanted = in_virtual_time(event())
    in_virtual_time(killed())
    in_virtual_time(after())


def test_a_server_that_was_away_for_long_still_tries_for_three_days() -> None:
    async def walk() -> None:
        house = await a_house(**RARELY)
        await house.endpoint("down")
        await house.ended()
        await asyncio.sleep(500 * HOUR)
        async with house.notifying():
            await asyncio.sleep(100 * HOUR)
        assert house.endpoints.times("down")[-1] >= 572 * HOUR
        await house.store.close()

    in_virtual_time(walk())


def test_while_the_store_cannot_write_nothing_is_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async def walk() -> None:
        house = await a_house()
        await house.endpoint("200")
        event = await house.ended()
        real, calls = house.store.webhooks.write, 0

        async def full(delivery: Any) -> bool:
            nonlocal calls
            calls += 1
            if calls < 20:
                raise Unavailable("the disk is full")
            return await real(delivery)

        monkeypatch.setattr(house.store.webhooks, "write", full)
        async with house.notifying():
            await asyncio.sleep(HOUR)
        assert house.endpoints.events("200") == [event.id] and calls == 20
        await house.store.close()

    in_virtual_time(walk())


def test_a_store_that_is_away_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def walk() -> None:
        house = await a_house()
        await house.endpoint("200")
        event = await house.ended()
        real: Callable[..., Awaitable[Any]] = house.store.webhooks.due

        async def away(at: int, each: int) -> Any:
            if asyncio.get_running_loop().time() < 60:
                raise Unavailable("locked")
            return await real(at, each)

        monkeypatch.setattr(house.store.webhooks, "due", away)
        async with house.notifying():
            await asyncio.sleep(70)
        assert house.endpoints.events("200") == [event.id]
        await house.store.close()

    in_virtual_time(walk())


def test_a_delivery_that_ends_while_the_store_is_asked_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store says is older then than the end of the delivery."""

    async def walk() -> None:
        house = await a_house(look_seconds=0.01)
        await house.endpoint("slow")
        event = await house.ended()
        real: Callable[..., Awaitable[Any]] = house.store.webhooks.due

        async def late(at: int, each: int) -> Any:
            found = await real(at, each)
            await asyncio.sleep(0.5)
            return found

        monkeypatch.setattr(house.store.webhooks, "due", late)
        async with house.notifying():
            await asyncio.sleep(30)
        assert house.endpoints.events("slow") == [event.id]
        await house.store.close()

    in_virtual_time(walk())
