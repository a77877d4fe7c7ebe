"""Batches made, watched, read and ended by the official Gemini client's calls, over real HTTP."""

# The client names types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from google.genai import client as parts
from google.genai import errors, types

from batchyard.domain.access import Quota, Role
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Reply
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.wiring.batches import BATCH_RULES
from tests.support.genai import talking
from tests.support.serving import MODEL, OPERATOR, Live, live
from tests.support.tenants import pieces

WALKS = CalendarSettings(grace_seconds=0.2, halt_seconds=5, look_seconds=1)
HI: list[Any] = [{"contents": "hi"}]
ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}


@asynccontextmanager
async def walking(**options: Any) -> AsyncGenerator[tuple[Live, parts.AsyncClient]]:
    async with live(**({"walks": WALKS} | options)) as server, talking(server) as client:
        yield server, client


def row(key: str | None = None, text: str = "hi", **request: Any) -> bytes:
    asked = {"contents": [{"parts": [{"text": text}]}], **request}
    return json.dumps(asked if key is None else {"key": key, "request": asked}).encode() + b"\n"


async def uploaded(server: Live, data: bytes) -> str:
    """The name of a file of the project, as this wire has it."""
    file = await server.house.files.upload(OPERATOR, "rows.jsonl", "batch", pieces(data, 1 << 16))
    return f"files/{file.id.removeprefix('file-')}"


async def created(client: parts.AsyncClient, src: Any, **config: Any) -> types.BatchJob:
    return await client.batches.create(model=MODEL, src=src, config=types.CreateBatchJobConfig(**config))


async def ended(client: parts.AsyncClient, job: types.BatchJob) -> types.BatchJob:
    """The job once its state is one at which polling stops."""
    async with asyncio.timeout(60):
        while True:
            found = await client.batches.get(name=job.name or "")
            if found.state is not None and found.state.name in ENDED:
                return found
            await asyncio.sleep(0.02)


async def rows_of(server: Live, job: types.BatchJob) -> list[dict[str, Any]]:
    """The rows of a job's result file, as a script reads them."""
    assert job.dest is not None and job.dest.file_name is not None
    assert job.dest.file_name == f"files/batch-{(job.name or '').removeprefix('batches/')}"
    file = await server.store.files.by_name(OPERATOR.project, job.dest.file_name.removeprefix("files/"), 0)
    assert file is not None
    content = await server.house.files.content(OPERATOR, file.id)
    text = b"".join([chunk async for chunk in content.read()]).decode()
    return [json.loads(line) for line in text.splitlines()]


async def operation(server: Live, name: str | None) -> dict[str, Any]:
    status, found = await server.json("GET", f"/v1beta/{name}")
    assert status == 200
    return found


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [each["response"]["candidates"][0]["content"]["parts"][0]["text"] for each in rows]


async def test_a_file_is_answered_row_by_row_in_its_order() -> None:
    async with walking() as (server, client):
        name = await uploaded(server, row("b", "two") + b"\n\r\n" + row("a", "one") + row(None, "bare"))
        job = await created(client, name, display_name="night-run")
        assert (job.name or "").startswith("batches/") and job.model == f"models/{MODEL}"
        assert job.state is types.JobState.JOB_STATE_PENDING and job.display_name == "night-run"
        done = await ended(client, job)
        assert done.state is types.JobState.JOB_STATE_SUCCEEDED and done.end_time is not None
        rows = await rows_of(server, done)
        assert [each.get("key") for each in rows] == ["b", "a", None] and texts(rows) == ["two", "one", "bare"]
        assert rows[0]["response"]["modelVersion"] == MODEL
        shown = await operation(server, job.name)
        assert (
            shown["done"] is True and shown["response"]["responsesFile"] == shown["metadata"]["output"]["responsesFile"]
        )
        assert shown["metadata"]["batchStats"] == {"requestCount": "3", "successfulRequestCount": "3"}
        assert shown["metadata"]["inputConfig"] == {"fileName": name}


async def test_requests_in_the_call_are_answered_in_their_order_with_their_metadata() -> None:
    async with walking() as (server, client):
        src: list[Any] = [
            {"contents": "one", "metadata": {"key": "a-1"}, "config": {"system_instruction": "be terse"}},
            types.InlinedRequest(contents="t\u2028wo \U0001f600"),
            {"contents": [{"parts": [{"text": "three"}]}], "model": MODEL},
        ]
        done = await ended(client, await created(client, src))
        assert done.dest is not None and done.dest.file_name is None
        answers = done.dest.inlined_responses or []
        assert [each.response.text for each in answers if each.response] == ["one", "t\u2028wo \U0001f600", "three"]
        assert [each.metadata for each in answers] == [{"key": "a-1"}, None, None]
        (listed,) = [each async for each in await client.batches.list(config={"page_size": 10})]
        assert listed.dest is None and listed.state is types.JobState.JOB_STATE_SUCCEEDED
        shown = await operation(server, done.name)
        assert shown["response"]["inlinedResponses"] == shown["metadata"]["output"]["inlinedResponses"]
        assert "inputConfig" not in shown["metadata"]
        files = await server.house.files.list(OPERATOR)
        assert not files.rows


async def picky(request: Request) -> Reply:
    """Refuses some, and answers the others with their last words."""
    said = msgspec.json.decode(request.body)["messages"][-1]["content"]
    if said == "too much":
        return Answer(400, b'{"error":{"message":"this is too much"}}')
    if said == "gone":
        return Failure("internal", "it broke")
    message = {"role": "assistant", "content": said}
    return Answer(200, msgspec.json.encode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))


async def test_bad_rows_are_answered_with_errors_and_the_counts_add_up() -> None:
    data = (
        row("good", "fine")
        + row("refused", "too much")
        + row("broken", "gone")
        + row("tool", "x", tools=[{"googleSearch": {}}])
        + row("type", "x", contents=[{"parts": [{"inlineData": {"mimeType": "application/x-foo", "data": "aGk="}}]}])
        + row("last", "bye")
    )
    async with walking(script=picky) as (server, client):
        done = await ended(client, await created(client, await uploaded(server, data)))
        assert done.state is types.JobState.JOB_STATE_SUCCEEDED
        rows = await rows_of(server, done)
        assert [each["key"] for each in rows] == ["good", "refused", "broken", "tool", "type", "last"]
        assert ["response" in each for each in rows] == [True, False, False, False, False, True]
        assert [each["error"]["code"] for each in rows if "error" in each] == [3, 13, 12, 3]
        stats = (await operation(server, done.name))["metadata"]["batchStats"]
        assert stats == {"requestCount": "6", "successfulRequestCount": "2", "failedRequestCount": "4"}


BAD = [
    (b"not json\n", "line 2"),
    (b'{"key": "x"}\n', "line 2"),
    (b'{"key": "x", "request": {"contents": [], "config": {}}}\n', "config"),
    (row("x", generation_config={"temprature": 1}), "temprature"),
    (row("x", model="models/none"), "none"),
]


@pytest.mark.parametrize(("bad", "named"), BAD)
async def test_a_file_with_rows_that_are_no_requests_is_refused_by_line(bad: bytes, named: str) -> None:
    async with walking() as (server, client):
        with pytest.raises(errors.ClientError) as refused:
            await created(client, await uploaded(server, row("good") + bad))
        assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
        assert "line 2" in str(refused.value) and named in str(refused.value)
        assert not (await server.house.batches.list(OPERATOR)).rows


async def test_a_large_file_with_bad_rows_ends_as_failed_and_says_why() -> None:
    async with walking() as (server, client):
        data = b"".join(row(str(number), "x" * 1000) for number in range(1100)) + b"{}\n[]\n"
        done = await ended(client, await created(client, await uploaded(server, data)))
        assert done.state is types.JobState.JOB_STATE_FAILED and (done.dest is None or done.dest.file_name is None)
        shown = await operation(server, done.name)
        assert shown["error"]["code"] == 3 and "line 1101" in shown["error"]["message"]
        assert "response" not in shown and "output" not in shown["metadata"]


def vectors(request: Request) -> Reply:
    words = msgspec.json.decode(request.body)["input"]
    data = [{"object": "embedding", "index": 0, "embedding": [float(len(words)), 0.5, 0.25, 0.125]}]
    return Answer(200, msgspec.json.encode({"object": "list", "data": data, "usage": {"prompt_tokens": 2}}))


async def embedding(request: Request) -> Reply:
    return vectors(request)


async def test_embeddings_of_a_file_are_cut_to_what_was_asked() -> None:
    rows: list[dict[str, Any]] = [
        {"key": "a", "request": {"output_dimensionality": 2, "content": {"parts": [{"text": "north"}]}}},
        {"key": "b", "request": {"content": {"parts": [{"text": "north"}], "role": "user"}}},
        {"key": "c", "request": {"outputDimensionality": 9, "content": {"parts": [{"text": "north"}]}}},
        {"key": "d", "request": {"content": {"parts": []}}},
    ]
    async with walking(script=embedding) as (server, client):
        name = await uploaded(server, b"".join(json.dumps(each).encode() + b"\n" for each in rows))
        job = await client.batches.create_embeddings(model=MODEL, src={"file_name": name}, config={"display_name": "e"})
        done = await ended(client, job)
        told = await rows_of(server, done)
        assert told[0] == {"key": "a", "response": {"tokenCount": "2", "embedding": {"values": [5.0, 0.5]}}}
        assert told[1]["response"]["embedding"]["values"] == [5.0, 0.5, 0.25, 0.125]
        assert [each["error"]["code"] for each in told[2:]] == [3, 3]
        shown = (await operation(server, done.name))["metadata"]
        assert shown["batchStats"] == {"requestCount": "4", "successfulRequestCount": "2", "failedRequestCount": "2"}
        assert shown["@type"].endswith(".EmbedContentBatch")


async def test_embeddings_in_the_call_come_back_in_it() -> None:
    async with walking(script=embedding) as (_, client):
        src = types.EmbeddingsBatchJobSource(
            inlined_requests=types.EmbedContentBatch(
                contents=["north", "south-west"], config=types.EmbedContentConfig(output_dimensionality=1)
            )
        )
        done = await ended(client, await client.batches.create_embeddings(model=MODEL, src=src))
        assert done.dest is not None
        answers = done.dest.inlined_embed_content_responses or []
        values = [each.response.embedding.values for each in answers if each.response and each.response.embedding]
        assert values == [[5.0], [10.0]]


class Gate:
    """An engine that answers when a test lets it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = asyncio.Event()

    async def __call__(self, request: Request) -> Reply:
        self.asked.set()
        await self.open.wait()
        return await picky(request)


async def test_a_cancelled_job_ends_with_every_row_accounted_for() -> None:
    gate = Gate()
    async with walking(script=gate, slots=2) as (server, client):
        job = await created(client, await uploaded(server, b"".join(row(str(n), "fine") for n in range(40))))
        await gate.asked.wait()
        running = await client.batches.get(name=job.name or "")
        assert running.state is types.JobState.JOB_STATE_RUNNING and not running.done
        await client.batches.cancel(name=job.name or "")
        gate.open.set()
        done = await ended(client, job)
        assert done.state is types.JobState.JOB_STATE_CANCELLED
        rows = await rows_of(server, done)
        assert [each["key"] for each in rows] == [str(n) for n in range(40)]
        assert {each["error"]["code"] for each in rows if "error" in each} == {1}
        shown = await operation(server, job.name)
        stats = {name: int(count) for name, count in shown["metadata"]["batchStats"].items()}
        assert stats["requestCount"] == 40 and stats["failedRequestCount"] == sum("error" in each for each in rows)
        assert shown["error"]["code"] == 1 and "response" not in shown
        await client.batches.cancel(name=job.name or "")  # again changes nothing
        assert (await client.batches.get(name=job.name or "")).state is types.JobState.JOB_STATE_CANCELLED


async def test_a_deleted_job_is_gone_and_ends() -> None:
    gate = Gate()
    async with walking(script=gate) as (server, client):
        kept, job = await created(client, HI), await created(client, HI)
        await gate.asked.wait()
        await client.batches.delete(name=job.name or "")
        with pytest.raises(errors.ClientError) as refused:
            await client.batches.get(name=job.name or "")
        assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")
        assert [each.name async for each in await client.batches.list()] == [kept.name]
        gate.open.set()
        await ended(client, kept)
        status, _ = await server.json("POST", f"/v1beta/{kept.name}:delete")
        assert status == 200
        assert [each.name async for each in await client.batches.list()] == []
        async with asyncio.timeout(30):
            while await server.store.batches.unended():
                await server.json("GET", "/v1beta/models")


async def test_a_job_past_its_time_has_expired() -> None:
    gate = Gate()
    rules = msgspec.structs.replace(BATCH_RULES, model_window_seconds=1)
    async with walking(script=gate, batch_rules=rules) as (server, client):
        job = await created(client, HI)
        await gate.asked.wait()
        done = await ended(client, job)
        assert done.state is types.JobState.JOB_STATE_EXPIRED
        assert (await operation(server, job.name))["error"]["code"] == 4


async def test_pages_have_every_job_once_newest_first() -> None:
    async with live() as server, talking(server) as client:
        names = [(await created(client, HI, display_name=str(n))).name for n in range(5)]
        listed = [each.name async for each in await client.batches.list(config={"page_size": 2})]
        assert listed == names[::-1]


async def test_a_waiting_job_is_described_anew() -> None:
    async with live() as server, talking(server) as client:
        job = await client.batches.create(
            model=MODEL, src=HI,
            config=types.CreateBatchJobConfig(http_options=types.HttpOptions(extra_body={"batch": {"priority": "5"}})),
        )  # fmt: skip
        path = f"/v1beta/{job.name}:updateGenerateContentBatch"
        assert (await operation(server, job.name))["metadata"]["priority"] == "5"
        status, shown = await server.json(
            "PATCH", f"{path}?updateMask=displayName", {"display_name": "new", "priority": 7}
        )
        assert status == 200 and (shown["displayName"], shown["priority"]) == ("new", "5")
        status, shown = await server.json("PATCH", path, {"priority": -1})
        assert (shown["displayName"], shown["priority"]) == ("new", "-1")
        status, shown = await server.json("PATCH", f"{path}?updateMask=state", {"state": "x"})
        assert (status, shown["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_unknown_models_and_files_are_not_found() -> None:
    async with live() as server, talking(server) as client:
        for model, src, said in (("none", HI, "aliases"), (MODEL, "files/nothing", "nothing")):
            with pytest.raises(errors.ClientError) as refused:
                await client.batches.create(model=model, src=src)
            assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND") and said in str(refused.value)


BODIES: list[tuple[Any, str]] = [
    ({}, "batch"),
    ({"batch": {}}, "batch.inputConfig"),
    ({"batch": {"inputConfig": {}}}, "batch.inputConfig"),
    ({"batch": {"inputConfig": {"fileName": "files/x", "requests": {"requests": []}}}}, "batch.inputConfig"),
    ({"batch": {"inputConfig": {"requests": {"requests": []}}}}, "batch.inputConfig.requests.requests"),
    ({"batch": {"inputConfig": {"requests": {"requests": [{"key": 1}]}}}}, "requests[0].key"),
    ({"batch": {"inputConfig": {"requests": {"requests": [{"request": 1}]}}}}, "request"),
    ({"batch": {"input_config": {"file_name": 7}}}, "batch.inputConfig.fileName"),
    ({"batch": {"input_config": {"file_name": "files/x"}, "dest": "files/y"}}, "batch.dest"),
    ({"batch": {"input_config": {"file_name": "files/x"}, "displayName": "x" * 513}}, "displayName"),
    ({"batch": {"input_config": {"file_name": "files/x"}, "priority": 1 << 70}}, "priority"),
    ({"batch": {"input_config": {"file_name": "files/x"}, "model": "models/other"}}, "batch.model"),
]


@pytest.mark.parametrize(("body", "field"), BODIES)
async def test_a_creation_that_says_something_wrong_is_told_what(body: Any, field: str) -> None:
    async with live() as server:
        status, shown = await server.json("POST", f"/v1beta/models/{MODEL}:batchGenerateContent", body)
    assert (status, shown["error"]["status"]) == (400, "INVALID_ARGUMENT")
    (detail,) = shown["error"]["details"]
    assert field in detail["fieldViolations"][0]["field"]


async def test_too_much_in_one_call_is_refused() -> None:
    async with live() as server:
        body = b'{"batch":"' + b" " * (server.house.limits.inline_bytes) + b'"}'
        status, _, shown = await server.call("POST", f"/v1/models/{MODEL}:batchGenerateContent", body)
        assert status == 400 and b"INVALID_ARGUMENT" in shown


async def test_jobs_of_others_are_unknown_and_viewers_may_only_look() -> None:
    async with live() as server, talking(server) as client:
        job = await created(client, HI)
        async with talking(server, key=await server.key(Role.ADMIN, project="other")) as stranger:
            assert [each.name async for each in await stranger.batches.list()] == []
            for call in (stranger.batches.get, stranger.batches.cancel, stranger.batches.delete):
                with pytest.raises(errors.ClientError) as refused:
                    await call(name=job.name or "")
                assert refused.value.code == 404
        async with talking(server, key=await server.key(Role.VIEWER)) as viewer:
            assert (await viewer.batches.get(name=job.name or "")).name == job.name
            for act in (viewer.batches.cancel, viewer.batches.delete):
                with pytest.raises(errors.ClientError) as refused:
                    await act(name=job.name or "")
                assert (refused.value.code, refused.value.status) == (403, "PERMISSION_DENIED")
            with pytest.raises(errors.ClientError):
                await created(viewer, HI)


async def test_a_full_project_is_told_so_and_keeps_nothing() -> None:
    async with live(quota=Quota(batches=1)) as server, talking(server) as client:
        await created(client, HI)
        kept = len(await server.house.files._blobs.keys("files"))  # pyright: ignore
        with pytest.raises(errors.ClientError) as refused:
            await created(client, HI)
        assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
        await server.rooms.sweep.run_once()
        assert len(await server.house.files._blobs.keys("files")) == kept  # pyright: ignore


async def test_what_failed_is_asked_again_by_the_call_of_the_other_wire() -> None:
    words = ["fine", "too much", "fine too", "gone", "too much"]
    refusing = True

    async def script(request: Request) -> Reply:
        return await picky(request) if refusing else Answer(200, (await picky(a_fine(request))).body)  # type: ignore

    def a_fine(request: Request) -> Request:
        body = request.body.replace(b"too much", b"better").replace(b"gone", b"back")
        return msgspec.structs.replace(request, body=body)

    async with walking(script=script) as (server, client):
        data = b"".join(row("same key", text) for text in words)
        done = await ended(client, await created(client, await uploaded(server, data)))
        refusing = False
        status, made = await server.json("POST", f"/v1/batches/{(done.name or '').replace('batches/', 'batch_')}/retry")
        assert status == 200
        again = await client.batches.get(name=made["id"].replace("batch_", "batches/"))
        rows = await rows_of(server, await ended(client, again))
        assert texts(rows) == ["better", "back", "better"]


async def test_a_job_is_a_batch_on_the_other_wire() -> None:
    async with walking() as (server, client), server.client() as other:
        done = await ended(client, await created(client, HI * 2))
        (batch,) = [each async for each in other.batches.list()]
        assert batch.id == (done.name or "").replace("batches/", "batch_") and batch.status == "completed"
        assert batch.endpoint == "/v1/chat/completions" and batch.request_counts is not None
        assert (batch.request_counts.total, batch.request_counts.completed) == (2, 2)
        content = await other.files.content(batch.output_file_id or "")
        assert len(content.text.splitlines()) == 2
