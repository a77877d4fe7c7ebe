"""Events while a batch runs, over real HTTP."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest
from openai import AsyncOpenAI
from openai.types import Batch

from batchyard.domain.access import Role
from batchyard.server.http.batchyard import events as door
from batchyard.service import feed
from tests.support.serving import Live, live
from tests.support.watching import events
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, ended, jsonl

STATES = ["batch.validating", "batch.in_progress", "batch.finalizing", "batch.completed"]


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 - nobody says so
            await asyncio.sleep(0.005)


async def test_the_whole_life_of_a_batch_is_told() -> None:
    gate = Gate()
    async with live(script=gate, walks=WALKS) as server, server.client() as client:
        async with events(server, "/v1/events") as all_of_it:
            assert await all_of_it.until("ready") == [(None, "ready", {})]
            batch = await create(client, jsonl(a_line("a"), a_line("b", "slow")))
            async with events(server, f"/batches/{batch.id}/events") as stream:
                assert stream.answer.headers["content-type"].startswith("text/event-stream")
                first = await anext(aiter(stream))
                assert first[2]["data"]["id"] == batch.id and first[0] is not None
                while first[2]["data"]["request_counts"]["completed"] < 1:
                    first = (await stream.until("batch.progress"))[-1]
                assert first[2]["data"]["status"] == "in_progress"
                gate.open.set()
                seen = await stream.until("batch.completed")
                assert [event async for event in stream] == []  # it ended
            told = [event for event in await all_of_it.until("batch.completed") if event[1] != feed.PROGRESS]
        assert [name for _, name, _ in told] == STATES
        numbers = [number for number, _, _ in told]
        assert numbers == sorted({number for number in numbers if number is not None})
        done = Batch.model_validate(seen[-1][2]["data"], strict=True)
        assert done == await client.batches.retrieve(batch.id)
        assert seen[-1][2]["type"] == "batch.completed" and seen[-1][2]["object"] == "event"


async def test_a_listener_that_comes_back_has_missed_nothing() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        other = await create(client, jsonl(a_line("a")))
        batch = await create(client, jsonl(a_line("a")))
        await ended(client, other.id)
        await ended(client, batch.id)
        path = f"/v1/batches/{batch.id}/events"
        async with events(server, path, after=0) as stream:
            seen = [event async for event in stream]
        assert [name for _, name, _ in seen] == STATES
        async with events(server, path, after=seen[1][0]) as stream:
            assert [event async for event in stream] == seen[2:]
        async with events(server, path, after=seen[-1][0]) as stream:
            assert stream.answer.status_code == 204  # and stay away
        async with events(server, path) as stream:
            assert [name for _, name, _ in [event async for event in stream]] == STATES[-1:]
        async with events(server, "/v1/events", after=0) as stream:
            assert [name for _, name, _ in await stream.until("ready")] != STATES


async def test_a_project_hears_of_its_own_batches_only() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        stranger = await server.key(Role.VIEWER, project="other")
        async with events(server, "/v1/events") as ours, events(server, "/v1/events", key=stranger) as theirs:
            await ours.until("ready")
            await theirs.until("ready")
            batch = await create(client, jsonl(a_line("a")))
            assert {event["data"]["id"] for _, _, event in await ours.until("batch.completed")} == {batch.id}
            server.house.feed.close()
            assert [event async for event in theirs] == []
        async with events(server, f"/v1/batches/{batch.id}/events", key=stranger) as hidden:
            assert hidden.answer.status_code == 404
        async with events(server, "/v1/batches/batch_no/events") as unknown:
            assert unknown.answer.status_code == 404
        async with events(server, "/v1/events", key=await server.key(Role.DATASETS_EDITOR)) as forbidden:
            assert forbidden.answer.status_code == 403


async def test_batches_that_have_not_ended_are_told_first() -> None:
    async with live() as server, server.client() as client:
        batches = [await create(client, jsonl(a_line("a"))) for _ in range(3)]
        async with events(server, "/v1/events") as stream:
            seen = await stream.until("ready")
        assert {event["data"]["id"] for _, _, event in seen[:-1]} == {batch.id for batch in batches}
        assert {name for _, name, _ in seen[:-1]} == {"batch.validating"}


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BEAT_SECONDS", 0.01)
    async with live() as server, server.client() as client:
        batch = await create(client, jsonl(a_line("a")))
        async with events(server, f"/v1/batches/{batch.id}/events") as stream:
            async for line in stream.answer.aiter_lines():
                if line.startswith(":"):
                    break


async def test_a_stop_ends_all_streams_at_once() -> None:
    async with live() as server:
        async with events(server, "/v1/events") as one, events(server, "/v1/events") as two:
            await one.until("ready")
            await two.until("ready")
            server.house.feed.close()
            async with asyncio.timeout(2):
                assert [event async for event in one] == [event async for event in two] == []
        async with events(server, "/v1/events") as late:
            assert {name async for _, name, _ in late} <= {"ready"}  # and ended


async def test_a_listener_that_hangs_up_is_forgotten() -> None:
    async with live() as server:
        async with events(server, "/v1/events") as stream:
            await stream.until("ready")
            assert server.house.feed.listeners == 1
        await until(lambda: server.house.feed.listeners == 0)


async def test_a_listener_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async with live() as server, server.client() as client:
        _, writer = await slow_listener(server)
        await until(lambda: server.house.feed.listeners == 1)
        await flood(client, server)
        await until(lambda: server.house.feed.listeners == 0)
        writer.close()


async def flood(client: AsyncOpenAI, server: Live) -> None:
    """More than a socket and a mailbox hold."""
    batch = await create(client, jsonl(a_line("a")), metadata={f"k{n}": "x" * 500 for n in range(16)})
    stored = (await server.store.batches.unended())[0]
    assert stored.id == batch.id
    async with asyncio.timeout(30):
        while server.house.feed.listeners:
            server.house.feed.counted(stored)
            await asyncio.sleep(0)


async def slow_listener(server: Live) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One who asks and never reads."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
    asked = f"GET /v1/events HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {server.secret}\r\n\r\n"
    writer.write(asked.encode())
    return reader, writer


async def test_what_nobody_may_see_without_a_key() -> None:
    async with live() as server, httpx2.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/v1/events")).status_code == 401
