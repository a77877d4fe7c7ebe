"""Whole batches by the official client, in strict mode: from a file of requests to files of results.

Engines answer when a test says so; the client polls, as people's scripts do.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, ConflictError
from openai.types import Batch as WireBatch

from batchyard.domain.access import Quota, Role
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply, usage_of
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.service.rules import BatchRules
from tests.support.serving import MODEL, live
from tests.support.tenants import FakeClock

CHAT = "/v1/chat/completions"
WALKS = CalendarSettings(grace_seconds=0.2, halt_seconds=5, look_seconds=1)
ORDER = ["validating", "in_progress", "finalizing", "cancelling", "completed", "failed", "expired", "cancelled"]
TERMINAL = {"completed", "failed", "expired", "cancelled"}


def a_line(id: str, text: str = "hi", url: str = CHAT, **body: Any) -> dict[str, Any]:
    content = {"model": MODEL, "messages": [{"role": "user", "content": text}]} | body
    return {"custom_id": id, "method": "POST", "url": url, "body": content}


def jsonl(*lines: Any) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


class Gate:
    """An engine's script: refuses `bad...`, holds `slow...` until it is opened, tells what came."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.came = asyncio.Event()
        self.asked = 0

    async def __call__(self, request: Request) -> Reply | None:
        text = str(json.loads(request.body)["messages"][-1]["content"])
        self.asked += 1
        if text.startswith("bad"):
            return Answer(400, b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"no"}}')
        if text.startswith("slow"):
            self.came.set()
            await self.open.wait()
        return None


async def create(client: AsyncOpenAI, content: bytes, **fields: Any) -> WireBatch:
    file = await client.files.create(file=("in.jsonl", content), purpose="batch")
    asked: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h"} | fields
    return await client.batches.create(input_file_id=file.id, **asked)


async def until(client: AsyncOpenAI, id: str, reached: Callable[[WireBatch], bool]) -> list[WireBatch]:
    """Poll until the batch is as wanted; all that was seen, which only ever moves along."""
    seen: list[WireBatch] = []
    async with asyncio.timeout(30):
        while not seen or not reached(seen[-1]):
            seen.append(await client.batches.retrieve(id))
            assert seen[-1].status not in TERMINAL or reached(seen[-1]), seen[-1]
            await asyncio.sleep(0.005)
    states = [ORDER.index(batch.status) for batch in seen]
    assert states == sorted(states)
    done = [batch.request_counts.completed for batch in seen if batch.request_counts]
    assert done == sorted(done)
    return seen


async def ended(client: AsyncOpenAI, id: str) -> WireBatch:
    return (await until(client, id, lambda batch: batch.status in TERMINAL))[-1]


async def lines_of(client: AsyncOpenAI, id: str | None) -> dict[str, dict[str, Any]]:
    """Result lines by id."""
    if id is None:
        return {}
    content = (await client.files.content(id)).content
    lines = [json.loads(line) for line in content.splitlines()]
    assert lines and content.isascii() and len({line["id"] for line in lines}) == len(lines)
    by_id = {line["custom_id"]: line for line in lines}
    assert len(by_id) == len(lines)
    return by_id


async def results(client: AsyncOpenAI, batch: WireBatch, ids: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Output and errors: every id exactly once, in one of them, and the counts and tokens as in them."""
    output, errors = await lines_of(client, batch.output_file_id), await lines_of(client, batch.error_file_id)
    assert sorted([*output, *errors]) == sorted(ids)
    assert all(line["response"]["status_code"] == 200 and line["error"] is None for line in output.values())
    assert all((line["response"] is None) != (line["error"] is None) for line in errors.values())
    ran = [line for line in errors.values() if line["error"] is None or not line["error"]["code"].startswith("batch_")]
    counts = batch.request_counts
    assert counts and (counts.total, counts.completed, counts.failed) == (len(ids), len(output), len(ran))
    used = [usage_of(json.dumps(line["response"]["body"]).encode()) for line in output.values()]
    assert batch.usage and batch.usage.input_tokens == sum(usage.input_tokens for usage in used)
    assert batch.usage.output_tokens == sum(usage.output_tokens for usage in used)
    return output, errors


def assert_times_in_order(batch: WireBatch, *names: str) -> None:
    times = [getattr(batch, f"{name}_at") for name in names]
    assert all(isinstance(time, int) for time in times) and times == sorted(times)
    others = {"in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"} - set(names)
    assert all(getattr(batch, f"{name}_at") is None for name in others)


async def test_a_batch_is_answered_line_by_line() -> None:
    lines = [a_line(f"l{n}", f"text {n}") for n in range(50)]
    async with live(walks=WALKS) as server, server.client() as client:
        made = await create(client, jsonl(*lines), metadata={"run": "7"})
        batch = await ended(client, made.id)
        assert (batch.status, batch.model, batch.errors, batch.error_file_id) == ("completed", MODEL, None, None)
        assert_times_in_order(batch, "created", "in_progress", "finalizing", "completed")
        output, _ = await results(client, batch, [line["custom_id"] for line in lines])
        assert output["l7"]["response"]["body"]["choices"][0]["message"]["content"] == "text 7"
        assert batch.output_file_id is not None
        file = await client.files.retrieve(batch.output_file_id)
        assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
        assert file.expires_at == file.created_at + 2_592_000
        assert await client.batches.retrieve(made.id) == batch


async def test_a_line_separator_in_an_answer_splits_no_line_of_the_clients() -> None:
    """The client's `iter_lines` splits at U+2028 and its like, too."""
    texts = [f"one\u2028two\u2029three\x85four {n}" for n in range(3)]
    async with live(walks=WALKS) as server, server.client() as client:
        lines = [a_line(f"l{n}", text) for n, text in enumerate(texts)]
        batch = await ended(client, (await create(client, jsonl(*lines))).id)
        assert batch.output_file_id is not None
        async with client.files.with_streaming_response.content(batch.output_file_id) as answer:
            told = [json.loads(line) async for line in answer.iter_lines()]
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in told] == texts


async def test_lines_that_fail_stand_in_the_error_file_only() -> None:
    lines = [a_line(f"l{n}", "bad" if n % 3 == 0 else "good") for n in range(10)]
    async with live(walks=WALKS, script=Gate()) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(*lines))).id)
        _, errors = await results(client, batch, [line["custom_id"] for line in lines])
    assert batch.status == "completed" and sorted(errors) == ["l0", "l3", "l6", "l9"]
    assert errors["l0"]["error"] is None and errors["l0"]["response"]["body"]["error"]["code"] == "no"


async def test_where_all_lines_fail_there_is_no_output_file() -> None:
    async with live(walks=WALKS, script=Gate()) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(a_line("a", "bad"), a_line("b", "bad")))).id)
        assert (batch.status, batch.output_file_id, batch.model) == ("completed", None, MODEL)
        await results(client, batch, ["a", "b"])


async def test_equal_requests_are_asked_once_and_answered_each() -> None:
    gate = Gate()
    lines = [a_line(f"l{n}", "same", temperature=0) for n in range(20)]
    async with live(walks=WALKS, script=gate) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(*lines))).id)
        await results(client, batch, [line["custom_id"] for line in lines])
    assert gate.asked == 1


def without(key: str, **changes: Any) -> dict[str, Any]:
    line = a_line(f"without {key}") | changes
    del line[key]
    return line


BAD: list[tuple[Any, str | None, str | None]] = [
    (b"{", "invalid_json_line", None),
    (b"[1]", "invalid_request", None),
    *((without(key), "missing_required_parameter", key) for key in ("custom_id", "method", "url", "body")),
    (a_line("one") | {"body": []}, "invalid_request", "body"),
    (a_line("another", model="other"), None, None),
    (a_line("same"), None, None),
    (a_line("same"), "duplicate_custom_id", "custom_id"),
    (a_line("m") | {"method": "GET"}, "invalid_method", "method"),
    (a_line("u", url="/v1/embeddings"), "invalid_url", "url"),
    (a_line("s", stream=True), "streaming_unsupported", "body.stream"),
    (a_line("no model", model=None), "invalid_request", "body.model"),
    (a_line("unknown", model="nobody"), "model_not_found", "body.model"),
    (a_line("field", messages=None), "invalid_request", "body.messages"),
]


async def test_every_fault_of_a_line_is_told_with_its_number() -> None:
    lines = [a_line("good"), b"", *(line for line, *_ in BAD)]
    wanted = [(code, number, param) for number, (_, code, param) in enumerate(BAD, 3) if code is not None]
    wanted.append(
        ("mismatched_model", 3 + [line for line, *_ in BAD].index(a_line("another", model="other")), "body.model")
    )
    async with live(walks=WALKS, names=(MODEL, "other")) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(*lines))).id)
    assert batch.errors and batch.errors.data
    told = [(error.code, error.line, error.param) for error in batch.errors.data]
    assert told == sorted(wanted, key=lambda each: each[1])
    assert (batch.status, batch.output_file_id, batch.error_file_id, batch.model) == ("failed", None, None, None)
    assert batch.request_counts and batch.request_counts.total == 0
    assert_times_in_order(batch, "created", "failed")


async def test_of_many_faults_the_first_hundred_are_told_and_how_many_more() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(a_line("a"), *[b"{"] * 250))).id)
    assert batch.errors and batch.errors.data and len(batch.errors.data) == 101
    assert [error.line for error in batch.errors.data[:100]] == list(range(2, 102))
    assert batch.errors.data[100].line is None and "150 more" in str(batch.errors.data[100].message)


async def test_a_file_of_too_many_lines_fails_as_a_whole() -> None:
    lines = [a_line(f"l{n}") for n in range(6)]
    async with live(walks=WALKS, quota=Quota(requests_per_file=5)) as server, server.client() as client:
        fits = await ended(client, (await create(client, jsonl(*lines[:5]))).id)
        batch = await ended(client, (await create(client, jsonl(*lines))).id)
    assert (fits.status, batch.status) == ("completed", "failed") and batch.errors and batch.errors.data
    (error,) = batch.errors.data
    assert (error.code, error.line, error.param) == ("too_many_tasks", None, None)
    assert "more than 5" in str(error.message)


async def test_a_batch_of_an_unknown_file_is_created_and_fails() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        made = await client.batches.create(input_file_id="file-none", endpoint=CHAT, completion_window="24h")
        batch = await ended(client, made.id)
    assert made.status == "validating" and batch.errors and batch.errors.data
    (error,) = batch.errors.data
    assert (batch.status, error.code, error.param, error.line) == ("failed", "invalid_request", "file_id", None)
    assert "Cannot find file" in str(error.message)


async def test_an_input_deleted_meanwhile_is_still_read() -> None:
    gate = Gate()
    async with live(walks=WALKS, script=gate) as server, server.client() as client:
        made = await create(client, jsonl(a_line("a", "slow"), a_line("b")))
        await gate.came.wait()
        await client.files.delete(made.input_file_id)
        gate.open.set()
        await results(client, await ended(client, made.id), ["a", "b"])


async def test_a_cancelled_batch_delivers_what_it_has_and_accounts_for_the_rest() -> None:
    gate = Gate()
    lines = [a_line(f"quick{n}") for n in range(8)] + [a_line(f"slow{n}", f"slow {n}") for n in range(100)]
    ids = [line["custom_id"] for line in lines]
    async with live(walks=WALKS, script=gate) as server, server.client() as client:
        made = await create(client, jsonl(*lines))
        await until(
            client, made.id, lambda batch: batch.request_counts is not None and batch.request_counts.completed == 8
        )
        first, second = await client.batches.cancel(made.id), await client.batches.cancel(made.id)
        assert first.status == second.status == "cancelling" and first.cancelling_at == second.cancelling_at
        batch = await ended(client, made.id)
        output, errors = await results(client, batch, ids)
        assert batch.status == "cancelled" and sorted(output) == sorted(ids[:8])
        assert {line["error"]["code"] for line in errors.values()} == {"batch_cancelled"}
        assert (await client.batches.cancel(made.id)) == batch
    assert gate.asked < len(lines)
    assert_times_in_order(batch, "created", "in_progress", "cancelling", "cancelled")


async def test_requests_in_flight_may_end_after_a_cancel() -> None:
    gate = Gate()
    walks = CalendarSettings(grace_seconds=20)
    async with live(walks=walks, script=gate) as server, server.client() as client:
        made = await create(client, jsonl(a_line("a", "slow")))
        await gate.came.wait()
        await client.batches.cancel(made.id)
        gate.open.set()
        batch = await ended(client, made.id)
        output, _ = await results(client, batch, ["a"])
    assert batch.status == "cancelled" and list(output) == ["a"]


async def test_a_batch_cancelled_before_it_ran_accounts_for_every_line() -> None:
    gate = Gate()
    walks = CalendarSettings(at_once=1, grace_seconds=5)
    async with live(walks=walks, script=gate) as server, server.client() as client:
        running = await create(client, jsonl(a_line("a", "slow")))
        await gate.came.wait()
        waiting = await create(client, jsonl(a_line("a"), a_line("b")))
        assert (await client.batches.cancel(waiting.id)).status == "cancelling"
        batch = await ended(client, waiting.id)  # while the other one still runs
        _, errors = await results(client, batch, ["a", "b"])
        assert batch.status == "cancelled" and batch.output_file_id is None and batch.in_progress_at is None
        assert {line["error"]["code"] for line in errors.values()} == {"batch_cancelled"}
        gate.open.set()
        assert (await ended(client, running.id)).status == "completed"
    assert gate.asked == 1


async def test_a_bad_batch_cancelled_before_it_was_read_ends_without_files() -> None:
    gate = Gate()
    async with live(walks=CalendarSettings(at_once=1), script=gate) as server, server.client() as client:
        await create(client, jsonl(a_line("a", "slow")))
        await gate.came.wait()
        waiting = await create(client, jsonl(a_line("a"), b"{"))
        await client.batches.cancel(waiting.id)
        batch = await ended(client, waiting.id)
        gate.open.set()
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("cancelled", None, None)


async def test_what_has_completed_is_not_cancelled() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(a_line("a")))).id)
        with pytest.raises(ConflictError, match="Cannot cancel a batch with status 'completed'"):
            await client.batches.cancel(batch.id)
        assert await client.batches.retrieve(batch.id) == batch


async def test_at_the_deadline_finished_lines_are_delivered_and_the_rest_expires() -> None:
    gate, clock = Gate(), FakeClock()
    lines = [a_line("quick"), *(a_line(f"slow{n}", f"slow {n}") for n in range(40)), a_line("bad", "bad")]
    lines.insert(1, lines.pop())
    ids = [line["custom_id"] for line in lines]
    async with live(walks=WALKS, script=gate, clock=clock) as server, server.client() as client:
        made = await create(client, jsonl(*lines))
        await gate.came.wait()
        clock.time += 86_399
        assert (await client.batches.retrieve(made.id)).status == "in_progress"
        clock.time += 1
        batch = await ended(client, made.id)
        output, errors = await results(client, batch, ids)
    assert batch.status == "expired" and batch.expired_at is not None and batch.expires_at is not None
    assert list(output) == ["quick"] and errors.pop("bad")["error"] is None
    assert {line["error"]["code"] for line in errors.values()} == {"batch_expired"}
    assert_times_in_order(batch, "created", "in_progress", "finalizing", "expired")


async def test_a_batch_whose_deadline_passed_while_it_waited_runs_nothing() -> None:
    gate, clock = Gate(), FakeClock()
    walks = CalendarSettings(at_once=1, look_seconds=0.05, grace_seconds=0.2)
    rules = BatchRules(windows={"24h": 86_400, "1h": 3_600})
    async with live(walks=walks, script=gate, clock=clock, batch_rules=rules) as server, server.client() as client:
        await create(client, jsonl(a_line("a", "slow")))
        await gate.came.wait()
        waiting = await create(client, jsonl(a_line("a"), a_line("b")), completion_window="1h")
        clock.time += 3_600
        batch = await ended(client, waiting.id)
        _, errors = await results(client, batch, ["a", "b"])
        gate.open.set()
    assert batch.status == "expired" and gate.asked == 1
    assert {line["error"]["code"] for line in errors.values()} == {"batch_expired"}


async def test_azures_batches_take_their_own_urls_and_never_expire() -> None:
    gate, clock = Gate(), FakeClock()
    lines = [a_line("a", "slow", url="/chat/completions"), a_line("b", url="/v1/chat/completions/")]
    async with live(walks=WALKS, script=gate, clock=clock) as server, server.azure() as client:
        made = await create(client, jsonl(*lines), endpoint="/chat/completions")
        await gate.came.wait()
        clock.time += 10 * 86_400
        gate.open.set()
        batch = await ended(client, made.id)
        await results(client, batch, ["a", "b"])
    assert batch.status == "completed" and batch.endpoint == "/chat/completions"


async def test_people_go_before_batches() -> None:
    gate = Gate()
    lines = [a_line(f"l{n}", f"slow {n}") for n in range(30)]
    async with live(walks=WALKS, script=gate, slots=4) as server, server.client() as client:
        made = await create(client, jsonl(*lines))
        await gate.came.wait()
        answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
        assert answer.choices[0].message.content == "hi" and gate.asked == 5 + 1
        gate.open.set()
        assert (await ended(client, made.id)).status == "completed"


async def test_a_projects_many_batches_do_not_keep_another_waiting() -> None:
    gate = Gate()
    async with live(walks=CalendarSettings(at_once=2), script=gate, slots=4) as server, server.client() as ours:
        many = [await create(ours, jsonl(*(a_line(f"l{n}", "slow") for n in range(9)))) for _ in range(8)]
        await gate.came.wait()
        async with server.client(key=await server.key(Role.EDITOR, project="other")) as theirs:
            made = await create(theirs, jsonl(a_line("a")))
            await until(theirs, made.id, lambda batch: batch.status == "in_progress")
            assert (await ours.batches.retrieve(many[-1].id)).status == "validating"
            gate.open.set()
            assert (await ended(theirs, made.id)).status == "completed"
        assert [(await ended(ours, each.id)).status for each in many] == ["completed"] * 8
