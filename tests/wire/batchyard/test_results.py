"""Results before the end: what a client appends while a batch runs is, byte for byte, what its files hold."""

import asyncio
import json
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, PermissionDeniedError

from batchyard.domain.access import Role
from batchyard.pipeline import underway
from tests.support.serving import live
from tests.support.watching import portion, rest
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, ended, jsonl, until


def ids(content: bytes) -> list[str]:
    return [json.loads(line)["custom_id"] for line in content.splitlines()]


async def content(client: AsyncOpenAI, id: str | None) -> bytes:
    return (await client.files.content(id)).content if id else b""


async def appended(client: AsyncOpenAI, id: str, **query: Any) -> bytes:
    """Everything, asked for again and again until it is complete."""
    data, after, complete = b"", None, "false"
    async with asyncio.timeout(30):
        while complete != "true":
            more, said = await portion(client, id, after, **query)
            data, after, complete = data + more, said["watermark"], said["complete"]
            await asyncio.sleep(0)
    return data


async def test_results_can_be_had_up_to_the_first_line_without_one() -> None:
    gate = Gate()
    lines = [a_line("a"), a_line("b", "bad"), a_line("c", "slow"), a_line("d"), a_line("e", "slow too")]
    async with live(script=gate, walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(*lines))
        await until(client, batch.id, lambda it: bool(it.request_counts and it.request_counts.completed == 2))
        data, said = await rest(client, batch.id)
        assert ids(data) == ["a", "b"]
        assert (said["lines-total"], said["more"], said["complete"]) == ("5", "false", "false")
        nothing, again = await rest(client, batch.id, said["watermark"])
        assert nothing == b"" and again["watermark"] == said["watermark"]
        assert (await client.batches.retrieve(batch.id)).output_file_id is None
        gate.open.set()
        done = await ended(client, batch.id)
        more, said = await rest(client, batch.id, said["watermark"])
        assert ids(more) == ["c", "d", "e"] and said["complete"] == "true"
        good, bad = await content(client, done.output_file_id), await content(client, done.error_file_id)
        assert (data + more).replace(bad, b"") == good
        assert (await rest(client, batch.id, said["watermark"]))[0] == b""


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_portions_appended_while_a_batch_runs_are_its_files(limit: int) -> None:
    texts = ["bad" if n % 5 == 0 else f"text {n % 7}" for n in range(60)]
    lines = [a_line(f"l{n}", text, temperature=0) for n, text in enumerate(texts)]  # most of them repeat others
    async with live(walks=WALKS, script=Gate()) as server, server.client() as client:
        batch = await create(client, jsonl(*lines))
        good, bad, both = await asyncio.gather(
            appended(client, batch.id, kind="output", limit=limit),
            appended(client, batch.id, kind="errors", limit=limit),
            appended(client, batch.id, limit=limit),
        )
        done = await ended(client, batch.id)
        assert good == await content(client, done.output_file_id) != b""
        assert bad == await content(client, done.error_file_id) != b""
        assert sorted(both.splitlines()) == sorted((good + bad).splitlines())
        assert await appended(client, batch.id, kind="all") == good + bad


async def test_a_watermark_of_a_running_batch_holds_after_its_end() -> None:
    gate = Gate()
    lines = [
        a_line("a", "one", temperature=0),
        a_line("b", "bad"),
        a_line("c", "slow"),
        a_line("d", "one", temperature=0),
    ]
    async with live(script=gate, walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(*lines))
        await until(client, batch.id, lambda it: bool(it.request_counts and it.request_counts.completed == 1))
        starts = {kind: await rest(client, batch.id, kind=kind) for kind in ("output", "errors")}
        assert [ids(data) for data, _ in starts.values()] == [["a"], ["b"]]
        gate.open.set()
        done = await ended(client, batch.id)
        for kind, file in (("output", done.output_file_id), ("errors", done.error_file_id)):
            data, said = starts[kind]
            assert data + (await rest(client, batch.id, said["watermark"], kind=kind))[0] == await content(client, file)


async def test_a_portion_ends_after_the_line_that_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underway, "PORTION_BYTES", 1000)
    monkeypatch.setattr(underway, "LOOKED_AT", 7)
    gate = Gate()
    lines = [*(a_line(f"l{n}", "x" * 300) for n in range(10)), a_line("last", "slow")]
    async with live(script=gate, walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(*lines))
        await until(client, batch.id, lambda it: bool(it.request_counts and it.request_counts.completed == 10))
        data, said = await portion(client, batch.id)
        assert 0 < data.count(b"\n") < 7 and said["more"] == "true"
        empty, said = await portion(client, batch.id, kind="errors")
        assert (empty, said["more"]) == (b"", "true")  # it was looked at some lines only
        assert len(ids((await rest(client, batch.id))[0])) == 10
        gate.open.set()
        await ended(client, batch.id)


async def test_a_batch_that_waits_has_no_results_yet_and_a_failed_one_never() -> None:
    async with live() as server, server.client() as client:
        waiting = await create(client, jsonl(a_line("a")))
        data, said = await portion(client, waiting.id)
        assert (data, said["more"], said["complete"]) == (b"", "false", "false")
    async with live(walks=WALKS) as server, server.client() as client:
        failed = await create(client, jsonl(a_line("a", url="/v1/embeddings")))
        await ended(client, failed.id)
        data, said = await portion(client, failed.id)
        assert (data, said["more"], said["complete"]) == (b"", "false", "true")


async def test_a_cancelled_batch_gives_what_it_has() -> None:
    async with live(script=Gate(), walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(a_line("a"), a_line("b", "slow"), a_line("c", "slow")))
        await until(client, batch.id, lambda it: bool(it.request_counts and it.request_counts.completed == 1))
        await client.batches.cancel(batch.id)
        data = await appended(client, batch.id)
        assert ids(data) == ["a", "b", "c"]
        assert json.loads(data.splitlines()[-1])["error"]["code"] == "batch_cancelled"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"after": "7"}, "after"),
        ({"after": "e1.2.3"}, "after"),
        ({"after": "a1.9999.0"}, "after"),
        ({"after": "a1.2.0"}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"kind": "good"}, "kind"),
    ],
)
async def test_what_cannot_be_asked_is_refused(query: dict[str, Any], param: str) -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(a_line("a")))
        await ended(client, batch.id)
        with pytest.raises(BadRequestError) as refused:
            await portion(client, batch.id, **query)
        assert refused.value.param == param


async def test_result_files_that_were_deleted_are_gone() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(a_line("a")))
        done = await ended(client, batch.id)
        assert done.output_file_id
        await client.files.delete(done.output_file_id)
        with pytest.raises(NotFoundError, match=done.output_file_id):
            await portion(client, batch.id)
        assert (await portion(client, batch.id, kind="errors"))[1]["complete"] == "true"


async def test_a_viewer_sees_results_and_a_stranger_does_not() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(a_line("a")))
        await ended(client, batch.id)
        async with server.client(key=await server.key(Role.VIEWER)) as viewer:
            assert ids((await portion(viewer, batch.id))[0]) == ["a"]
        async with server.client(key=await server.key(Role.DATASETS_EDITOR)) as editor:
            with pytest.raises(PermissionDeniedError):
                await portion(editor, batch.id)
        async with server.client(key=await server.key(Role.ADMIN, project="other")) as stranger:
            with pytest.raises(NotFoundError) as theirs:
                await portion(stranger, batch.id)
            with pytest.raises(NotFoundError) as nobodys:
                await portion(stranger, "batch_no")
        assert theirs.value.message.replace(batch.id, "batch_no") == nobodys.value.message
