"""What rows of batches may say, what stands in their results again, and what becomes of a batch's files."""

# The client names types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import json
from typing import Any

import msgspec
import pytest
from google.genai import errors, types

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from tests.support.serving import MODEL, OPERATOR
from tests.wire.gemini.test_batches import HI, Gate, created, ended, row, rows_of, texts, uploaded, walking

OTHER = "echo-2"


async def naming(request: Request) -> Reply:
    """Says which model was asked."""
    message = {"role": "assistant", "content": request.model}
    return Answer(200, msgspec.json.encode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))


async def test_a_row_may_ask_another_model_of_the_server() -> None:
    async with walking(script=naming, names=(MODEL, OTHER)) as (server, client):
        data = row("own") + row("other", model=f"models/{OTHER}") + row("named", model=f"models/{MODEL}")
        done = await ended(client, await created(client, await uploaded(server, data)))
        assert texts(await rows_of(server, done)) == [MODEL, OTHER, MODEL]
        src: list[Any] = [{"contents": "hi", "model": OTHER}, {"contents": "hi"}]
        done = await ended(client, await created(client, src))
        assert done.dest is not None
        answers = done.dest.inlined_responses or []
        assert [each.response.text for each in answers if each.response] == [OTHER, MODEL]


async def test_keys_and_metadata_of_any_kind_come_back_as_they_were() -> None:
    kept: list[dict[str, Any]] = [
        {"key": 7}, {"key": {"a": [1, None]}}, {"key": "same"}, {"key": "same", "metadata": {"n": 1, "deep": [True]}},
        {"key": None}, {},
    ]  # fmt: skip
    asked: dict[str, Any] = {"contents": [{"parts": [{"text": "hi"}]}]}
    data = b"\xef\xbb\xbf" + b"\r\n".join(json.dumps({**each, "request": asked}).encode() for each in kept)
    async with walking() as (server, client):
        done = await ended(client, await created(client, await uploaded(server, data)))
        rows = await rows_of(server, done)
    assert [{name: each[name] for name in each if name != "response"} for each in rows] == kept
    assert texts(rows) == ["hi"] * len(kept)


async def test_metadata_of_requests_in_the_call_may_be_any_object() -> None:
    async with walking() as (server, client):
        request: dict[str, Any] = {"contents": [{"parts": [{"text": "hi"}]}]}
        given = {"n": 1, "deep": {"snake_case": [None]}}
        body = {"batch": {"input_config": {"requests": {"requests": [{"request": request, "metadata": given}]}}}}
        status, made = await server.json("POST", f"/v1beta/models/{MODEL}:batchGenerateContent", body)
        assert status == 200
        while not (shown := (await server.json("GET", f"/v1beta/{made['name']}"))[1]).get("done"):
            pass
        (answer,) = shown["response"]["inlinedResponses"]["inlinedResponses"]
        assert answer["metadata"] == given
        with pytest.raises(ValueError, match="metadata"):  # why the page says to keep to texts
            await client.batches.get(name=made["name"])


async def test_the_input_may_be_deleted_while_the_job_runs() -> None:
    gate = Gate()
    async with walking(script=gate, slots=1) as (server, client):
        name = await uploaded(server, b"".join(row(str(n), f"say {n}") for n in range(9)))
        job = await created(client, name)
        await gate.asked.wait()
        await client.files.delete(name=name)
        with pytest.raises(errors.ClientError):
            await client.files.get(name=name)
        await server.rooms.sweep.run_once()
        gate.open.set()
        done = await ended(client, job)
        assert done.state is types.JobState.JOB_STATE_SUCCEEDED
        assert texts(await rows_of(server, done)) == [f"say {n}" for n in range(9)]


async def test_results_outlive_their_job_until_somebody_deletes_them() -> None:
    async with walking() as (server, client):
        done = await ended(client, await created(client, await uploaded(server, row("a"))))
        assert done.dest is not None and done.dest.file_name is not None
        await client.batches.delete(name=done.name or "")
        assert len((await client.files.download(file=done.dest.file_name)).splitlines()) == 1
        await client.files.delete(name=done.dest.file_name)
        with pytest.raises(errors.ClientError) as refused:
            await client.files.download(file=done.dest.file_name)
        assert refused.value.code == 403


async def test_results_of_a_job_are_there_for_a_month() -> None:
    async with walking() as (server, client):
        done = await ended(client, await created(client, await uploaded(server, row("a"))))
        assert done.dest is not None and done.end_time is not None
        file = await client.files.get(name=done.dest.file_name or "")
        assert file.expiration_time is not None and file.source is types.FileSource.GENERATED
        assert abs((file.expiration_time - done.end_time).total_seconds() - 30 * 86_400) < 60


async def test_a_job_of_a_file_that_is_past_its_time_has_a_row_for_each_request() -> None:
    gate = Gate()
    async with walking(script=gate, slots=1, batch_rules=None) as (server, client):
        rules = server.house.model_batches
        rules._rules = msgspec.structs.replace(rules._rules, model_window_seconds=1)  # pyright: ignore[reportPrivateUsage]
        job = await created(client, await uploaded(server, b"".join(row(str(n)) for n in range(5))))
        await gate.asked.wait()
        done = await ended(client, job)
        assert done.state is types.JobState.JOB_STATE_EXPIRED
        rows = await rows_of(server, done)
        assert [(each["key"], each["error"]["code"]) for each in rows] == [(str(n), 4) for n in range(5)]


async def test_the_same_creation_under_one_idempotency_key_makes_one_job() -> None:
    async with walking() as (server, client):
        config = {"http_options": types.HttpOptions(headers={"Idempotency-Key": "nightly"})}
        first, again = [await created(client, HI, **config) for _ in range(2)]
        assert first.name == again.name and len((await server.house.batches.list(OPERATOR)).rows) == 1
        with pytest.raises(errors.ClientError) as refused:
            await created(client, [{"contents": "something else"}], **config)
        assert refused.value.code == 409
        assert (await created(client, HI)).name != first.name
        status, _, body = await server.call("GET", "/v1beta/files", headers={"x-goog-api-key": server.secret})
        assert status == 200 and json.loads(body)["files"] == []


async def failing(request: Request) -> Reply:
    return Answer(400, b'{"error":{"message":"no"}}')


async def test_embeddings_in_the_call_that_all_failed_are_told_as_errors() -> None:
    async with walking(script=failing) as (_, client):
        texts = types.EmbedContentBatch(contents=["north", "south"])
        src = types.EmbeddingsBatchJobSource(inlined_requests=texts)
        done = await ended(client, await client.batches.create_embeddings(model=MODEL, src=src))
        assert done.dest is not None and not done.dest.inlined_embed_content_responses
        answers = done.dest.inlined_responses or []
        assert [each.error.code for each in answers if each.error] == [3, 3]


async def test_a_job_that_has_ended_cannot_be_described_anew() -> None:
    async with walking() as (server, client):
        done = await ended(client, await created(client, HI))
        path = f"/v1beta/{done.name}:updateGenerateContentBatch"
        status, shown = await server.json("PATCH", path, {"displayName": "late"})
        assert (status, shown["error"]["status"]) == (409, "ABORTED")
