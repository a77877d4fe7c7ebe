"""`POST /v1/batches/{id}/retry`: what did not succeed is asked again, as a batch of its own."""

import json
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, ConflictError, NotFoundError, PermissionDeniedError
from openai.types import Batch as WireBatch

from batchyard.domain.access import Role
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.service.rules import BatchRules
from tests.support.serving import live
from tests.support.tenants import FakeClock
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, ended, jsonl, lines_of, results

LINES = [a_line(f"l{n}", "bad" if n % 3 == 0 else "good", note="é\u2028") for n in range(10)]
LEFT = ["l0", "l3", "l6", "l9"]


class Moody:
    """An engine's script: refuses `bad` lines until its mood changes."""

    def __init__(self) -> None:
        self.kind = False

    async def __call__(self, request: Request) -> Reply | None:
        if self.kind or "bad" not in str(json.loads(request.body)["messages"][-1]["content"]):
            return None
        return Answer(400, b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"no"}}')


async def retry(client: AsyncOpenAI, id: str, body: Any = None, key: str | None = None) -> WireBatch:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post(f"/batches/{id}/retry", cast_to=WireBatch, body=body, options={"headers": headers})


async def refused(client: AsyncOpenAI, id: str) -> str:
    """The code of a conflict that cannot heal."""
    with pytest.raises(ConflictError) as told:
        await retry(client, id)
    assert told.value.response.headers["x-should-retry"] == "false"
    assert told.value.code is not None
    return told.value.code


async def test_a_retry_asks_the_lines_that_failed_and_no_other() -> None:
    mood = Moody()
    async with live(walks=WALKS, script=mood) as server, server.client() as client:
        content = jsonl(LINES[0], b"", *LINES[1:])
        first = await ended(client, (await create(client, content, metadata={"team": "a"})).id)
        mood.kind = True
        made = await retry(client, first.id)
        assert made.model_extra and made.model_extra["retry_of"] == first.id
        assert (made.status, made.metadata, made.completion_window) == ("validating", {"team": "a"}, "24h")
        second = await ended(client, made.id)
        output, errors = await results(client, second, LEFT)
        assert second.status == "completed" and list(output) == LEFT and not errors
        assert second.input_file_id == made.input_file_id
        file = await client.files.retrieve(second.input_file_id)
        assert (file.purpose, file.filename) == ("batch", f"{first.id}_retry.jsonl")
        asked = (await client.files.content(file.id)).content
        assert asked == b"".join(line for line in content.splitlines(keepends=True) if json_id(line) in LEFT)
        assert await refused(client, second.id) == "nothing_to_retry"


def json_id(line: bytes) -> str | None:
    return json.loads(line)["custom_id"] if line.strip() else None


async def test_a_retry_of_a_retry_asks_what_is_left_of_it() -> None:
    async with live(walks=WALKS, script=Moody()) as server, server.client() as client:
        first = await ended(client, (await create(client, jsonl(*LINES))).id)
        second = await ended(client, (await retry(client, first.id, {"metadata": {"try": "2"}})).id)
        third = await ended(client, (await retry(client, second.id)).id)
        await results(client, third, LEFT)
    assert second.metadata == third.metadata == {"try": "2"}


async def test_lines_that_were_cancelled_or_expired_are_asked_again() -> None:
    gate, clock = Gate(), FakeClock()
    rules = BatchRules(windows={"24h": 86_400, "1h": 3_600})
    walks = CalendarSettings(grace_seconds=0.05, look_seconds=0.05)
    async with (
        live(walks=walks, script=gate, slots=2, clock=clock, batch_rules=rules) as server,
        server.client() as client,
    ):
        lines = [a_line("quick", "hi"), *(a_line(f"l{n}", f"slow {n}") for n in range(3))]
        made = await create(client, jsonl(*lines), completion_window="1h")
        await gate.came.wait()
        clock.time += 3_600
        first = await ended(client, made.id)
        left = list(await lines_of(client, first.error_file_id))
        again = await retry(client, first.id, {"completion_window": "24h"})
        await client.batches.cancel(again.id)
        second = await ended(client, again.id)
        assert (first.status, second.status) == ("expired", "cancelled")
        assert (second.expires_at or 0) - second.created_at == 86_400
        assert list(await lines_of(client, second.error_file_id)) == left
        gate.open.set()
        third = await ended(client, (await retry(client, second.id)).id)
        output, _ = await results(client, third, left)
    assert third.status == "completed" and list(output) == left


async def test_a_retry_asked_twice_with_one_key_is_one_batch() -> None:
    async with live(walks=WALKS, script=Moody()) as server, server.client() as client:
        first = await ended(client, (await create(client, jsonl(*LINES))).id)
        made = await retry(client, first.id, key="once")
        assert (await retry(client, first.id, key="once")).id == made.id
        with pytest.raises(ConflictError) as told:
            await retry(client, first.id, {"metadata": {}}, key="once")
        assert told.value.code == "idempotency_key_reused"
        assert (await retry(client, first.id)).id != made.id


async def test_what_cannot_be_retried_is_said() -> None:
    gate = Gate()
    async with live(walks=WALKS, script=gate) as server, server.client() as client:
        running = await create(client, jsonl(a_line("a", "slow")))
        await gate.came.wait()
        assert await refused(client, running.id) == "batch_not_ended"
        broken = await ended(client, (await create(client, jsonl(a_line("a"), b'{"custom_id": "b"'))).id)
        assert broken.status == "failed" and await refused(client, broken.id) == "batch_not_valid"
        gate.open.set()
        assert await refused(client, (await ended(client, running.id)).id) == "nothing_to_retry"
        with pytest.raises(NotFoundError):
            await retry(client, "batch_no")


async def test_a_retry_is_held_to_the_same_rules_as_a_batch() -> None:
    async with live(walks=WALKS, script=Moody()) as server, server.client() as client:
        first = await ended(client, (await create(client, jsonl(*LINES))).id)
        for body, code in (
            ({"completion_window": "9y"}, "invalid_value"),
            ({"metadata": {"a": 1}}, "invalid_type"),
            ({"completion_window": 1}, "invalid_type"),
        ):
            with pytest.raises(APIStatusError) as told:
                await retry(client, first.id, body)
            assert (told.value.status_code, told.value.code) == (400, code)
        async with server.client(key=await server.key(Role.VIEWER)) as viewer:
            with pytest.raises(PermissionDeniedError):
                await retry(viewer, first.id)
        async with server.client(key=await server.key(Role.EDITOR, project="theirs")) as stranger:
            with pytest.raises(NotFoundError):
                await retry(stranger, first.id)


async def test_a_retry_needs_the_files_of_the_batch_only_when_it_is_asked_for() -> None:
    gate, walks = Gate(), CalendarSettings(at_once=1, grace_seconds=0.2)
    async with live(walks=walks, script=gate) as server, server.client() as client:
        first = await ended(client, (await create(client, jsonl(a_line("a", "bad"), a_line("b")))).id)
        for _ in range(2):  # as many as walk at once, one of them because its project has none
            await create(client, jsonl(a_line("a", "slow")))
        await gate.came.wait()
        waiting = await retry(client, first.id)
        assert first.error_file_id is not None
        await client.files.delete(first.error_file_id)
        assert await refused(client, first.id) == "error_file_gone"
        await client.files.delete(first.input_file_id)
        assert await refused(client, first.id) == "input_file_gone"
        assert await server.store.files.dead_blobs(9) == []
        gate.open.set()
        await results(client, await ended(client, waiting.id), ["a"])
        assert len(await server.store.files.dead_blobs(9)) == 2
