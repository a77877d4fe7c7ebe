"""Batches by the official clients, in strict mode: what can be asked, told and refused before and after the walk.

The walk itself is played here: the tests move a batch through the store as the pipeline does.
"""

import asyncio
from typing import Any

import msgspec
import pytest
from openai import AsyncOpenAI, BadRequestError, ConflictError, NotFoundError, PermissionDeniedError, RateLimitError
from openai.types import Batch as WireBatch

from batchyard.domain.access import HOME, Quota, Role
from batchyard.domain.batch import BatchId, BatchState, Counts
from batchyard.domain.event import EventId, arrival
from batchyard.domain.line import LineError
from batchyard.domain.result import Usage
from batchyard.service.rules import BatchRules
from tests.support.serving import Live, live

LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}\n'
DAY = 86_400
CHAT = "/v1/chat/completions"


async def given(client: AsyncOpenAI, purpose: Any = "batch") -> str:
    return (await client.files.create(file=("in.jsonl", LINE), purpose=purpose)).id


async def create(client: AsyncOpenAI, file: str | None = None, **fields: Any) -> WireBatch:
    asked: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h"} | fields
    return await client.batches.create(input_file_id=file or await given(client), **asked)


async def move(server: Live, id: str, *states: BatchState, **facts: Any) -> None:
    """Walk a batch through states, as the pipeline does."""
    batches = server.store.batches
    for number, state in enumerate(states):
        before = await batches.get(HOME, BatchId(id))
        assert before is not None
        after = msgspec.structs.replace(before.move(state, before.created_at + 10 * number), **facts)
        assert await batches.move(before.state, after, arrival(EventId(f"evt_{id}_{state}"), after))


async def test_a_batch_is_created_with_every_field(server: Live) -> None:
    async with server.client() as client:
        file = await given(client)
        made = await create(
            client, file, metadata={"team": "search"}, output_expires_after={"anchor": "created_at", "seconds": 86400}
        )
        again = await client.batches.retrieve(made.id)
    assert made == again and made.id.startswith("batch_") and len(made.id) == 38
    assert (made.status, made.endpoint, made.completion_window, made.input_file_id) == ("validating", CHAT, "24h", file)
    assert made.expires_at == made.created_at + DAY and made.metadata == {"team": "search"}
    assert made.request_counts is not None and made.request_counts.model_dump() == dict.fromkeys(
        ("total", "completed", "failed"), 0
    )
    assert (made.model, made.usage, made.errors, made.output_file_id, made.error_file_id) == (None,) * 5


async def test_the_sync_client_creates_and_cancels(server: Live) -> None:
    def walk() -> list[str]:
        with server.sync_client() as client:
            file = client.files.create(file=("in.jsonl", LINE), purpose="batch")
            made = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
            return [made.status, client.batches.cancel(made.id).status, client.batches.retrieve(made.id).status]

    assert await asyncio.to_thread(walk) == ["validating", "cancelling", "cancelling"]


@pytest.mark.parametrize(
    ("fields", "param", "code", "text"),
    [
        ({"endpoint": "/v1/nothing"}, "endpoint", "invalid_value", "Supported values"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value", "Supported values"),
        ({"metadata": {"n": 5}}, "metadata.n", "invalid_type", "expected a string"),
        ({"metadata": {"n": None}}, "metadata.n", "invalid_type", "expected a string"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "object_above_max_properties", "16"),
        ({"metadata": {"k": "x" * 513}}, "metadata.k", "string_above_max_length", "512"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 5}},
            "output_expires_after.seconds",
            "integer_below_min_value",
            "3600",
        ),
    ],
)
async def test_what_cannot_be_is_refused_at_once(
    server: Live, fields: dict[str, Any], param: str, code: str, text: str
) -> None:
    async with server.client() as client:
        with pytest.raises(BadRequestError) as caught:
            await create(client, "file-x", **fields)
    assert (caught.value.param, caught.value.code) == (param, code) and text in str(caught.value)


@pytest.mark.parametrize("missing", ["input_file_id", "endpoint", "completion_window"])
async def test_a_missing_field_is_named(server: Live, missing: str) -> None:
    body = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"}
    status, answer = await server.json("POST", "/v1/batches", {k: v for k, v in body.items() if k != missing})
    assert status == 400
    assert answer["error"]["message"] == f"Missing required parameter: '{missing}'."
    assert (answer["error"]["param"], answer["error"]["code"]) == (missing, "missing_required_parameter")


async def test_a_missing_input_file_is_found_out_later_a_wrong_purpose_at_once(server: Live) -> None:
    async with server.client() as client:
        assert (await create(client, "file-nobody")).status == "validating"
        with pytest.raises(BadRequestError) as caught:
            await create(client, await given(client, "assistants"))
    assert (caught.value.param, caught.value.code) == ("input_file_id", "invalid_value")


async def test_a_missing_input_file_is_refused_at_once_where_that_is_wished_for() -> None:
    async with live(batch_rules=BatchRules(refuse_missing_input=True)) as server, server.client() as client:
        with pytest.raises(BadRequestError) as caught:
            await create(client, "file-nobody")
    assert caught.value.param == "file_id"


async def test_a_finished_batch_is_told_whole(server: Live) -> None:
    async with server.client() as client:
        made = await create(client)
        await move(server, made.id, BatchState.IN_PROGRESS, model="llama")
        await server.store.batches.count(BatchId(made.id), Counts(3, 2, 1), Usage(10, 4, 1, 2))
        await move(server, made.id, BatchState.FINALIZING, BatchState.COMPLETED)
        done = await client.batches.retrieve(made.id)
    assert (done.status, done.model) == ("completed", "llama")
    assert done.request_counts is not None and done.request_counts.completed == 2
    assert done.usage is not None and done.usage.total_tokens == 14
    times = [done.created_at, done.in_progress_at, done.finalizing_at, done.completed_at]
    assert times == sorted(time for time in times if time is not None)


async def test_a_failed_batch_names_its_lines(server: Live) -> None:
    wrong = LineError(number=5, code="missing_required_parameter", message="No 'method'.", param="method")
    async with server.client() as client:
        made = await create(client)
        await move(server, made.id, BatchState.FAILED, errors=(wrong,), error_count=1)
        failed = await client.batches.retrieve(made.id)
    assert failed.errors is not None and failed.errors.data is not None
    assert [(e.code, e.line, e.param) for e in failed.errors.data] == [("missing_required_parameter", 5, "method")]


async def test_cancelling_twice_is_cancelling_once(server: Live) -> None:
    async with server.client() as client:
        made = await create(client)
        first = await client.batches.cancel(made.id)
        assert first.status == "cancelling" and first.cancelling_at is not None
        assert await client.batches.cancel(made.id) == first
        await move(server, made.id, BatchState.CANCELLED)
        assert (await client.batches.cancel(made.id)).status == "cancelled"


@pytest.mark.parametrize(
    "states", [(BatchState.FAILED,), (BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.COMPLETED)]
)
async def test_cancelling_what_has_ended_costs_one_call(server: Live, states: tuple[BatchState, ...]) -> None:
    async with server.client() as client:
        made = await create(client)
        await move(server, made.id, *states)
        with pytest.raises(ConflictError, match="Cannot cancel a batch with status") as caught:
            await client.with_options(max_retries=2).batches.cancel(made.id)
    assert (caught.value.type, caught.value.param, caught.value.code) == ("invalid_request_error", None, None)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert server.house.metrics.registry.get_sample_value(
        "batchyard_http_requests_total", {"route": "/batches/{id}/cancel", "method": "POST", "status": "409"}
    ) == 1  # fmt: skip


@pytest.mark.parametrize("limit", [1, 2])
async def test_the_list_is_walked_page_by_page_newest_first(server: Live, limit: int) -> None:
    async with server.client() as client:
        file = await given(client)
        made = [(await create(client, file)).id for _ in range(5)]
        assert [batch.id async for batch in client.batches.list(limit=limit)] == made[::-1]
        assert (await client.batches.list(limit=2)).has_more is True


async def test_nobody_sees_anothers_batches(server: Live) -> None:
    async with server.client() as client, server.client(key=await server.key(Role.EDITOR, project="other")) as other:
        foreign = (await create(other)).id
        own = (await create(client)).id
        for id in ("batch_none", foreign):
            for call in (client.batches.retrieve, client.batches.cancel):
                with pytest.raises(NotFoundError, match="No batch found"):
                    await call(id)
        page = await client.batches.list(limit=1)
        assert ([batch.id for batch in page.data], page.has_more) == ([own], False)


async def test_a_viewer_looks_but_does_not_run(server: Live) -> None:
    async with server.client() as editor, server.client(key=await server.key(Role.VIEWER)) as viewer:
        made = await create(editor)
        assert (await viewer.batches.retrieve(made.id)).id == made.id
        with pytest.raises(PermissionDeniedError):
            await viewer.batches.cancel(made.id)
        with pytest.raises(PermissionDeniedError):
            await create(viewer, made.input_file_id)


async def test_a_project_with_enough_batches_is_not_asked_again() -> None:
    async with live(quota=Quota(batches=1)) as server, server.client() as client:
        first = await create(client)
        with pytest.raises(RateLimitError) as caught:
            await create(client.with_options(max_retries=2), first.input_file_id)
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_two_creates_under_one_idempotency_key_are_one_batch(server: Live) -> None:
    once: dict[str, Any] = {"extra_headers": {"Idempotency-Key": "k"}}
    async with server.client() as client:
        first = await create(client, **once)
        assert await create(client, first.input_file_id, **once) == first
        with pytest.raises(ConflictError):
            await create(client, first.input_file_id, endpoint="/v1/embeddings", **once)


async def test_fifty_creates_and_polls_at_once_are_fifty_batches(server: Live) -> None:
    async with server.client() as client:
        file = await given(client)

        async def one() -> str:
            made = await create(client, file)
            return (await client.batches.retrieve(made.id)).id

        ids = await asyncio.gather(*(one() for _ in range(50)))
        listed = [batch.id async for batch in client.batches.list(limit=20)]
    assert sorted(ids) == sorted(listed)


async def test_azure_is_answered_in_azures_way(server: Live) -> None:
    async with server.azure() as client:
        file = await given(client)
        raw = await client.batches.with_raw_response.create(
            input_file_id=file, endpoint="/chat/completions", completion_window="24h"  # type: ignore[arg-type]
        )  # fmt: skip
        made = raw.parse()
        assert raw.http_response.status_code == 201 and made.endpoint == "/chat/completions"
        filters = {"$filter": f"created_at ge {made.created_at} and status eq 'Validating'"}
        assert [b.id async for b in client.batches.list(limit=1, extra_query=filters)] == [made.id]
        none = {"$filter": "status eq 'Completed'"}
        assert [b.id async for b in client.batches.list(extra_query=none)] == []
        with pytest.raises(BadRequestError):
            await client.batches.list(extra_query={"$filter": "nonsense"})
        assert (await client.batches.cancel(made.id)).status == "cancelling"


async def test_azures_order_is_taken(server: Live) -> None:
    async with server.azure() as client:
        file = await given(client)
        made = [(await create(client, file)).id for _ in range(3)]
        order = {"$orderby": "created_at asc"}
        assert [b.id async for b in client.batches.list(limit=2, extra_query=order)] == made


async def test_a_body_that_is_no_json_is_a_400(server: Live) -> None:
    for body, text in (
        (b"", "parse"),
        (b"[]", "JSON object"),
        (b"\xff", "parse"),
        (b'{"endpoint":"\\ud800"}', "parse"),
    ):
        status, _, answer = await server.call("POST", "/v1/batches", body)
        assert status == 400 and text in msgspec.json.decode(answer)["error"]["message"]


async def test_a_body_that_is_too_large_is_a_413(server: Live) -> None:
    status, _, answer = await server.call("POST", "/v1/batches", b"{" + b" " * (2 << 20) + b"}")
    assert (status, msgspec.json.decode(answer)["error"]["code"]) == (413, "request_too_large")
