"""Enqueued tokens and priority, as the official clients meet them."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from batchyard.domain.access import HOME, ModelLimits, Quota, Role
from batchyard.domain.request import Request
from batchyard.domain.result import Reply
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.service.rules import WhenFull
from batchyard.wiring.batches import BATCH_RULES
from tests.support.serving import live
from tests.support.tenants import FakeClock, changed
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, ended, jsonl, results, until

FAIL = changed(BATCH_RULES, when_full=WhenFull.FAIL)
NOT_LOOKING = CalendarSettings(grace_seconds=0.2, look_seconds=3600)
"""Nothing but the end of another batch lets one go on."""
PROMPT = 10
"""The tokens of each line's prompt, as they are estimated."""


def lines(text: str, count: int, **body: Any) -> bytes:
    made = [a_line(f"l{n}", text, **body) for n in range(count)]
    assert {(len(json.dumps(line["body"]["messages"])) + 3) // 4 for line in made} == {PROMPT}
    return jsonl(*made)


async def running(client: AsyncOpenAI, id: str) -> None:
    await until(client, id, lambda batch: batch.status == "in_progress")


async def status(client: AsyncOpenAI, id: str) -> str:
    return (await client.batches.retrieve(id)).status


async def test_a_batch_beyond_the_quota_waits_for_room_and_nobody_passes_it() -> None:
    gate, quota = Gate(), Quota(enqueued_tokens=3 * PROMPT)
    async with live(walks=NOT_LOOKING, script=gate, quota=quota) as server, server.client() as client:
        first = await create(client, lines("slow", 2))
        await running(client, first.id)
        second = await create(client, lines("fast", 2))
        while not server.parking.load_of(second.id):  # pyright: ignore[reportArgumentType]
            await status(client, second.id)
        small = await create(client, lines("fast", 1))
        while not server.parking.load_of(small.id):  # pyright: ignore[reportArgumentType]
            await status(client, small.id)
        assert await server.store.batches.enqueued(HOME) == 2 * PROMPT
        assert [await status(client, each.id) for each in (second, small)] == ["validating"] * 2
        gate.open.set()
        assert [(await ended(client, each.id)).status for each in (first, second, small)] == ["completed"] * 3
        assert await server.store.batches.enqueued(HOME) == 0


async def test_a_batch_that_waits_for_room_can_be_cancelled() -> None:
    gate, quota = Gate(), Quota(enqueued_tokens=PROMPT)
    async with live(walks=NOT_LOOKING, script=gate, quota=quota) as server, server.client() as client:
        first = await create(client, lines("slow", 1))
        await running(client, first.id)
        second, third = await create(client, lines("fast", 1)), await create(client, lines("fast", 1))
        while not server.parking.load_of(second.id):  # pyright: ignore[reportArgumentType]
            await status(client, second.id)
        await client.batches.cancel(second.id)
        batch = await ended(client, second.id)
        _, errors = await results(client, batch, ["l0"])
        assert batch.status == "cancelled" and errors["l0"]["error"]["code"] == "batch_cancelled"
        gate.open.set()
        assert (await ended(client, third.id)).status == "completed"


async def test_a_batch_whose_deadline_passes_while_it_waits_for_room_expires() -> None:
    gate, clock, quota = Gate(), FakeClock(), Quota(enqueued_tokens=PROMPT)
    walks = CalendarSettings(grace_seconds=0.1, look_seconds=0.05)
    async with live(walks=walks, script=gate, quota=quota, clock=clock) as server, server.client() as client:
        first = await create(client, lines("slow", 1))
        await running(client, first.id)
        second = await create(client, lines("fast", 1))
        while not server.parking.load_of(second.id):  # pyright: ignore[reportArgumentType]
            await status(client, second.id)
        clock.time += 86_400
        batch = await ended(client, second.id)
        await results(client, batch, ["l0"])
        assert batch.status == "expired" and gate.asked == 1


async def test_a_batch_that_can_never_fit_fails_and_says_why() -> None:
    async with live(walks=WALKS, quota=Quota(enqueued_tokens=3 * PROMPT)) as server, server.client() as client:
        batch = await ended(client, (await create(client, lines("fast", 4))).id)
        limited = await ended(client, (await create(client, lines("fast", 2, max_tokens=50))).id)
        fits = await ended(client, (await create(client, lines("fast", 3))).id)
    assert (batch.status, limited.status, fits.status) == ("failed", "failed", "completed")
    assert batch.errors is not None and batch.errors.data is not None and batch.model_extra is not None
    (error,) = batch.errors.data
    assert (error.code, error.line, error.param) == ("token_limit_exceeded", None, None)
    assert f"token_limit_exceeded: the batch needs {4 * PROMPT} enqueued tokens" in str(error.message)
    assert batch.request_counts is not None and batch.request_counts.total == 0 and batch.model_extra["cost"] is None


async def test_where_full_projects_batches_fail_the_client_hears_the_word() -> None:
    gate, quota = Gate(), Quota(enqueued_tokens=3 * PROMPT)
    async with live(walks=WALKS, script=gate, quota=quota, batch_rules=FAIL) as server, server.client() as client:
        first = await create(client, lines("slow", 2))
        await running(client, first.id)
        batch = await ended(client, (await create(client, lines("fast", 2))).id)
        fits = await create(client, lines("slow", 1))
        await running(client, fits.id)
        async with server.azure() as azure:
            file = await client.files.create(file=("in.jsonl", lines("fast", 1)), purpose="batch")
            with pytest.raises(BadRequestError, match="token_limit_exceeded") as refused:
                await azure.batches.create(
                    input_file_id=file.id, endpoint="/chat/completions", completion_window="24h"  # pyright: ignore[reportArgumentType]
                )  # fmt: skip
        gate.open.set()
        assert [(await ended(client, each.id)).status for each in (first, fits)] == ["completed"] * 2
    assert batch.status == "failed" and batch.errors is not None and batch.errors.data is not None
    assert batch.errors.data[0].code == "token_limit_exceeded"
    assert refused.value.code == "token_limit_exceeded"


async def test_a_model_has_room_of_its_own_in_each_project() -> None:
    gate = Gate()
    options: dict[str, Any] = {"model_limits": ModelLimits(enqueued_tokens=PROMPT), "names": ("echo-1", "other")}
    async with live(walks=NOT_LOOKING, script=gate, **options) as server, server.client() as client:
        first = await create(client, lines("slow", 1))
        await running(client, first.id)
        waits = await create(client, lines("fast", 1))
        assert (await ended(client, (await create(client, lines("fast", 1, model="other"))).id)).status == "completed"
        async with server.client(key=await server.key(Role.EDITOR, project="theirs")) as theirs:
            assert (await ended(theirs, (await create(theirs, lines("fast", 1))).id)).status == "completed"
        assert await status(client, waits.id) == "validating"
        gate.open.set()
        assert (await ended(client, waits.id)).status == "completed"


async def test_azure_tells_how_much_is_enqueued() -> None:
    content = lines("fast", 2)
    async with live(quota=Quota(enqueued_tokens=5000)) as server, server.azure() as azure:
        file = await azure.files.create(file=("in.jsonl", content), purpose="batch")
        asked: dict[str, Any] = {"endpoint": "/chat/completions", "completion_window": "24h"}
        raw = await azure.batches.with_raw_response.create(input_file_id=file.id, **asked)
    assert raw.status_code == 201
    assert int(raw.headers["deployment-enqueued-tokens"]) == (len(content) + 3) // 4
    assert raw.headers["deployment-maximum-enqueued-tokens"] == "5000"


async def test_without_a_quota_azure_tells_nothing() -> None:
    async with live() as server, server.azure() as azure:
        asked: dict[str, Any] = {"endpoint": "/chat/completions", "completion_window": "24h"}
        raw = await azure.batches.with_raw_response.create(input_file_id="file-none", **asked)
    assert not [name for name in raw.headers if "enqueued" in name]


# Priority


async def test_the_more_urgent_batch_of_a_project_goes_first() -> None:
    texts: list[str] = []
    gate = Gate()

    async def script(request: Request) -> Reply | None:
        texts.append(json.loads(request.body)["messages"][0]["content"])
        return await gate(request)

    walks = CalendarSettings(at_once=1, look_seconds=3600)
    async with live(walks=walks, script=script) as server, server.client() as client:
        await create(client, jsonl(a_line("a", "slow")))
        await gate.came.wait()
        made = [
            await create(client, jsonl(a_line("a", str(priority))), extra_body={"priority": priority})
            for priority in (-1, 0, 7, 100)
        ]
        gate.open.set()
        for batch in made:
            await ended(client, batch.id)
    assert texts == ["slow", "100", "7", "0", "-1"]
    assert [(batch.model_extra or {})["priority"] for batch in made] == [-1, 0, 7, 100]


@pytest.mark.parametrize(
    ("priority", "code"),
    [
        (101, "integer_above_max_value"),
        (-101, "integer_below_min_value"),
        ("high", "invalid_type"),
        (1.5, "invalid_type"),
    ],
)
async def test_a_priority_beyond_its_bounds_is_refused(priority: object, code: str) -> None:
    async with live() as server, server.client() as client:
        with pytest.raises(BadRequestError) as refused:
            await create(client, b"{}", extra_body={"priority": priority})
    assert (refused.value.code, refused.value.param) == (code, "priority")


async def test_an_editor_cannot_pass_an_administrators_most_urgent_batch() -> None:
    async with live(quota=Quota(highest_priority=70)) as server:
        for role, most in ((Role.EDITOR, 50), (Role.ADMIN, 70)):
            async with server.client(key=await server.key(role)) as client:
                await create(client, b"{}", extra_body={"priority": most})
                with pytest.raises(BadRequestError, match=f"<= {most}"):
                    await create(client, b"{}", extra_body={"priority": most + 1})
