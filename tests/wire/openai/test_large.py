"""Large batches take other ways through the server: examined while they arrive, their heavy steps in processes.

Here every input counts as large, so what callers see must be what they see of small ones.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types import Batch

from batchyard.pipeline.calendar import CalendarSettings
from batchyard.pipeline.examine import Examinations
from tests.support.processes import ENVIRONMENT
from tests.support.serving import MODEL, Live, live

CHAT = "/v1/chat/completions"
BOUNDARY = "----form"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes import what the tests import."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each batch that was validated, whether it took over what had been examined."""
    seen: list[bool] = []
    take = Examinations.take

    async def watched(self: Examinations, *asked: Any) -> Any:
        verdict = await take(self, *asked)
        seen.append(verdict is not None)
        return verdict

    monkeypatch.setattr(Examinations, "take", watched)
    return seen


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Live, AsyncOpenAI]]:
    async with live(walks=CalendarSettings(look_seconds=1), heavy_bytes=1) as server, server.client() as client:
        yield server, client


def jsonl(texts: Sequence[str], model: str = MODEL) -> bytes:
    bodies = ({"model": model, "messages": [{"role": "user", "content": text}]} for text in texts)
    lines = ({"custom_id": f"l{n}", "method": "POST", "url": CHAT, "body": body} for n, body in enumerate(bodies))
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def ended(client: AsyncOpenAI, file: str, endpoint: Any = CHAT) -> Batch:
    batch = await client.batches.create(input_file_id=file, endpoint=endpoint, completion_window="24h")
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        await asyncio.sleep(0.01)
        batch = await client.batches.retrieve(batch.id)
    return batch


async def answers(client: AsyncOpenAI, batch: Batch) -> dict[str, str]:
    assert batch.output_file_id is not None
    content = (await client.files.content(batch.output_file_id)).content
    lines = [json.loads(line) for line in content.splitlines()]
    return {each["custom_id"]: each["response"]["body"]["choices"][0]["message"]["content"] for each in lines}


TEXTS = [f"text {number}" for number in range(3000)]
EXPECTED = {f"l{number}": text for number, text in enumerate(TEXTS)}


async def test_a_large_batch_is_answered_and_what_was_examined_serves_once(taken: list[bool]) -> None:
    async with serving() as (_, client):
        file = await client.files.create(file=("in.jsonl", jsonl(TEXTS)), purpose="batch")
        for _ in range(2):
            batch = await ended(client, file.id)
            assert batch.status == "completed" and await answers(client, batch) == EXPECTED
    assert taken == [True, False]


async def test_the_purpose_may_come_behind_the_bytes(taken: list[bool]) -> None:
    async with serving() as (server, client):
        form = [
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'.encode(),
            jsonl(TEXTS),
            f'\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch'.encode(),
            f"\r\n--{BOUNDARY}--\r\n".encode(),
        ]
        kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        status, _, body = await server.call("POST", "/v1/files", b"".join(form), kind)
        assert status == 200
        assert await answers(client, await ended(client, json.loads(body)["id"])) == EXPECTED
    assert taken == [True]


async def test_an_upload_in_parts_is_examined_when_it_is_put_together(taken: list[bool]) -> None:
    async with serving() as (_, client):
        data = jsonl(TEXTS)
        upload = await client.uploads.create(
            bytes=len(data), filename="in.jsonl", mime_type="application/jsonl", purpose="batch"
        )
        cuts = [data[:100_000], data[100_000:]]
        parts = [(await client.uploads.parts.create(upload.id, data=cut)).id for cut in cuts]
        done = await client.uploads.complete(upload.id, part_ids=parts)
        assert done.file is not None
        assert await answers(client, await ended(client, done.file.id)) == EXPECTED
    assert taken == [True]


async def test_bad_lines_are_named_as_ever(taken: list[bool]) -> None:
    async with serving() as (_, client):
        data = jsonl(TEXTS) + b"{\n" + jsonl(["same id"]) + jsonl(["no such model"], "other").replace(b"l0", b"new")
        file = await client.files.create(file=("in.jsonl", data), purpose="batch")
        first, second = await ended(client, file.id), await ended(client, file.id)
    assert first.status == second.status == "failed" and first.errors == second.errors
    assert first.errors is not None and first.errors.data is not None
    assert [each.line for each in first.errors.data] == [3001, 3002, 3003]
    assert taken == [True, False]


async def test_a_batch_for_another_endpoint_is_validated_by_itself(taken: list[bool]) -> None:
    async with serving() as (_, client):
        file = await client.files.create(file=("in.jsonl", jsonl(TEXTS)), purpose="batch")
        batch = await ended(client, file.id, "/v1/embeddings")
        assert batch.status == "failed"
        assert await answers(client, await ended(client, file.id)) == EXPECTED
    assert taken == [False, True]
