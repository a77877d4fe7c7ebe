"""Webhooks by the official client, in strict mode: managed over the wire, delivered to real receivers on loopback."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from openai import (
    APIStatusError,
    AsyncOpenAI,
    BadRequestError,
    InvalidWebhookSignatureError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from openai.types.webhooks import BatchCompletedWebhookEvent, WebhookEndpointWithSecret

from batchyard.domain.access import Role
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.service.webhooks import WebhookRules
from batchyard.wiring.webhooks import WebhookSettings
from tests.support.batches import requests
from tests.support.receiver import AT_ONCE, LOOPBACK, PUBLIC, Receiver, public
from tests.support.serving import MODEL, Live, live
from tests.support.tenants import FakeClock
from tests.support.web_server import Exchange, Seen, serving

CHAT = "/v1/chat/completions"
ALL: Any = ["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"]
WALKS = CalendarSettings(look_seconds=1)
FAILING = requests(1, MODEL).replace(CHAT.encode(), b"/v1/embeddings")


async def endpoint(client: AsyncOpenAI, url: str, kinds: Any = ALL) -> WebhookEndpointWithSecret:
    return await client.webhooks.create(name="ci", url=url, event_types=kinds)


async def batch(client: AsyncOpenAI, content: bytes | None = None) -> str:
    """The id of a new batch, of one line that completes."""
    file = await client.files.create(file=("in.jsonl", content or requests(1, MODEL)), purpose="batch")
    return (await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")).id


async def until_ended(client: AsyncOpenAI, id: str) -> str:
    async with asyncio.timeout(30):
        while (found := await client.batches.retrieve(id)).status not in ("completed", "failed"):
            pass
    return found.status


def unwrapped(client: AsyncOpenAI, seen: Seen, secret: str) -> Any:
    return client.webhooks.unwrap(seen.body, seen.headers, secret=secret)


def times_ahead(seconds: int) -> Callable[[], float]:
    now = time.time()  # noqa: TID251 - the client under test asks the system
    return lambda: now + seconds


# Managing


async def test_an_endpoint_is_made_read_changed_and_deleted() -> None:
    clock = FakeClock()
    async with live(webhooks=PUBLIC, clock=clock) as server, server.client() as client:
        made = await endpoint(client, "https://ci.example/hook/", ["batch.completed", "batch.completed"])
        assert made.id.startswith("we_") and made.signing_secret.startswith("whsec_")
        assert (made.name, made.url, made.event_types) == ("ci", "https://ci.example/hook/", ["batch.completed"])
        assert made.created_at == made.updated_at == clock.at()
        assert made.signing_secret_hint == f"whsec_...{made.signing_secret[-2:]}"
        clock.time += 10
        read = await client.webhooks.retrieve(made.id)
        assert read.to_dict() == {k: v for k, v in made.to_dict().items() if k != "signing_secret"}
        assert await client.webhooks.update(made.id, name="ci") == read
        changed = await client.webhooks.update(made.id, event_types=["batch.failed"], url="http://other.example")
        assert (changed.name, changed.event_types) == ("ci", ["batch.failed"]) and changed.updated_at == clock.at()
        assert await client.webhooks.retrieve(made.id) == changed
        gone = await client.webhooks.delete(made.id)
        assert (gone.id, gone.deleted, gone.object) == (made.id, True, "webhook_endpoint.deleted")
        for call in (client.webhooks.retrieve, client.webhooks.delete, client.webhooks.rotate_secret):
            with pytest.raises(NotFoundError):
                await call(made.id)


async def test_endpoints_are_listed_newest_first_and_read_page_by_page() -> None:
    async with live(webhooks=PUBLIC) as server, server.client() as client:
        made = [(await endpoint(client, f"https://ci.example/{number}")).id for number in range(5)]
        page = await client.webhooks.list(limit=2)
        assert [each.id for each in page.data] == made[:2:-1] and page.has_more
        assert [each.id async for each in client.webhooks.list(limit=2)] == made[::-1]
        assert "signing_secret" not in page.data[0].to_dict()


async def test_the_kinds_of_events_are_listed(server: Live) -> None:
    async with server.client() as client:
        assert (await client.webhooks.event_types.list()).data == ALL


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"url": None}, "url", "missing_required_parameter"),
        ({"name": None}, "name", "missing_required_parameter"),
        ({"event_types": None}, "event_types", "missing_required_parameter"),
        ({"event_types": []}, "event_types", "empty_array"),
        ({"event_types": ["batch.failed", "response.completed"]}, "event_types[1]", "invalid_value"),
        ({"event_types": "batch.failed"}, "event_types", "invalid_type"),
        ({"name": " "}, "name", "invalid_value"),
        ({"name": "n" * 201}, "name", "invalid_value"),
        ({"url": "ftp://ci.example"}, "url", "invalid_value"),
        ({"url": "https://user:word@ci.example"}, "url", "invalid_value"),
        ({"url": "https://"}, "url", "invalid_value"),
        ({"url": "https://ci.example/" + "x" * 2_050}, "url", "invalid_value"),
        ({"url": "http://127.0.0.1:8000/v1"}, "url", "invalid_value"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url", "invalid_value"),
        ({"url": "http://[::1]/"}, "url", "invalid_value"),
    ],
)
async def test_what_will_not_do_is_refused_when_made_and_when_changed(
    changes: dict[str, Any], param: str, code: str
) -> None:
    given = {"name": "ci", "url": "https://ci.example", "event_types": ["batch.failed"]} | changes
    async with live(webhooks=PUBLIC) as server, server.client() as client:
        before = await endpoint(client, "https://ci.example")
        paths = ["/webhook_endpoints"] + ([f"/webhook_endpoints/{before.id}"] if None not in changes.values() else [])
        for path in paths:
            with pytest.raises(BadRequestError) as refused:
                await client.post(path, body=given, cast_to=object)
            assert (refused.value.param, refused.value.code) == (param, code)
        assert (await client.webhooks.retrieve(before.id)).updated_at == before.updated_at
        assert len((await client.webhooks.list()).data) == 1


async def test_a_project_has_so_many_endpoints() -> None:
    settings = WebhookSettings(resolve=public, rules=WebhookRules(endpoints=2))
    async with live(webhooks=settings) as server, server.client() as client:
        first, _ = await endpoint(client, "https://a.example"), await endpoint(client, "https://b.example")
        with pytest.raises(RateLimitError, match="2 webhook endpoints"):
            await endpoint(client, "https://c.example")
        await client.webhooks.delete(first.id)
        await endpoint(client, "https://c.example")


async def test_viewers_see_endpoints_and_change_none() -> None:
    async with live(webhooks=PUBLIC) as server, server.client() as client:
        made = await endpoint(client, "https://ci.example")
        async with server.client(key=await server.key(Role.VIEWER)) as viewer:
            assert [each.id for each in (await viewer.webhooks.list()).data] == [made.id]
            assert "signing_secret" not in (await viewer.webhooks.retrieve(made.id)).to_dict()
            calls = (
                endpoint(viewer, "https://other.example"),
                viewer.webhooks.update(made.id, name="x"),
                viewer.webhooks.rotate_secret(made.id),
                viewer.webhooks.test(made.id, event_type="batch.failed"),
                viewer.webhooks.delete(made.id),
            )
            for call in calls:
                with pytest.raises(PermissionDeniedError):
                    await call
        async with server.client(key=await server.key(Role.DATASETS_EDITOR)) as labeller:
            with pytest.raises(PermissionDeniedError):
                await labeller.webhooks.list()
        async with server.client(key=await server.key(Role.EDITOR)) as editor:
            await editor.webhooks.delete((await endpoint(editor, "https://other.example")).id)
        assert (await client.webhooks.retrieve(made.id)).name == "ci"


async def test_another_projects_endpoint_is_unknown() -> None:
    async with live(webhooks=PUBLIC) as server, server.client() as client:
        made = await endpoint(client, "https://ci.example")
        async with server.client(key=await server.key(Role.ADMIN, project="other")) as other:
            assert (await other.webhooks.list()).data == []
            for id in (made.id, "we_never"):
                calls = (
                    other.webhooks.retrieve(id),
                    other.webhooks.update(id, name="x"),
                    other.webhooks.rotate_secret(id),
                    other.webhooks.test(id, event_type="batch.failed"),
                    other.webhooks.delete(id),
                )
                for call in calls:
                    with pytest.raises(NotFoundError) as refused:
                        await call
                    assert refused.value.message.replace(id, "?").count("No webhook endpoint found with id '?'") == 1
        assert (await client.webhooks.retrieve(made.id)).updated_at == made.updated_at


# Delivering


async def test_a_delivery_verifies_and_its_batch_can_be_read() -> None:
    async with live(walks=WALKS, webhooks=LOOPBACK) as server, server.client() as client:
        with Receiver().listening() as receiver:
            made = await endpoint(client, receiver.url)
            id = await batch(client)
            seen = await receiver.next()
            assert (await client.batches.retrieve(id)).status == "completed"
            event = unwrapped(client, seen, made.signing_secret)
            assert isinstance(event, BatchCompletedWebhookEvent) and event.data.id == id
            assert (seen.method, seen.path) == ("POST", "/hooks/?token=1")
            assert seen.headers["content-type"] == "application/json"
            with pytest.raises(InvalidWebhookSignatureError):
                client.webhooks.unwrap(seen.body + b" ", seen.headers, secret=made.signing_secret)
            with patch("time.time", times_ahead(302)), pytest.raises(InvalidWebhookSignatureError, match="too old"):
                unwrapped(client, seen, made.signing_secret)
            assert receiver.count == 0


async def test_only_wanted_kinds_are_delivered_and_only_after_the_endpoint_was_made() -> None:
    async with live(walks=WALKS, webhooks=LOOPBACK) as server, server.client() as client:
        with Receiver().listening() as receiver:
            assert await until_ended(client, await batch(client, FAILING)) == "failed"
            made = await endpoint(client, receiver.url, ["batch.failed"])
            await until_ended(client, await batch(client))
            id = await batch(client, FAILING)
            event = unwrapped(client, await receiver.next(), made.signing_secret)
            assert (event.type, event.data.id) == ("batch.failed", id)
            assert receiver.count == 0


async def test_a_delivery_is_tried_again_signed_anew_under_its_id() -> None:
    clock = FakeClock(times_ahead(-20)())
    async with live(walks=WALKS, webhooks=LOOPBACK, clock=clock) as server, server.client() as client:
        with Receiver(500, 302, 404, 204, clock=clock).listening() as receiver:
            made = await endpoint(client, receiver.url)
            id = await batch(client)
            tries = [await receiver.next() for _ in range(4)]
            for seen in tries:
                assert unwrapped(client, seen, made.signing_secret).data.id == id
            assert len({seen.headers["webhook-id"] for seen in tries}) == 1
            stamps = [int(seen.headers["webhook-timestamp"]) for seen in tries]
            assert stamps == sorted(set(stamps))
            assert len({seen.headers["webhook-signature"] for seen in tries}) == 4
            assert len({seen.body for seen in tries}) == 1 and {seen.path for seen in tries} == {"/hooks/?token=1"}


async def test_an_endpoint_that_hangs_delays_no_batch_and_no_other_endpoint() -> None:
    settings = WebhookSettings(allow_private=("127.0.0.1",), notify=AT_ONCE, timeout_seconds=0.5)
    hung, loop = asyncio.Queue[str](), asyncio.get_running_loop()

    def hang(exchange: Exchange) -> None:
        """Read on until the other side goes."""
        loop.call_soon_threadsafe(hung.put_nowait, exchange.seen.headers["webhook-id"])
        exchange.rfile.read(1)
        exchange.drop()

    async with live(walks=WALKS, webhooks=settings) as server, server.client() as client:
        with serving(hang) as slow, Receiver().listening() as receiver:
            await endpoint(client, slow.url)
            made = await endpoint(client, receiver.url)
            await batch(client)
            tried = {await hung.get()}
            ids = [await batch(client) for _ in range(6)]
            assert {await until_ended(client, id) for id in ids} == {"completed"}
            heard = [unwrapped(client, await receiver.next(), made.signing_secret).data.id for _ in range(7)]
            assert set(heard[1:]) >= set(ids[1:])
            async with asyncio.timeout(30):
                while (id := await hung.get()) not in tried:  # a time-out is tried again
                    tried.add(id)


async def test_a_rotated_secret_ends_at_once_or_signs_beside_the_new_one() -> None:
    async with live(webhooks=LOOPBACK) as server, server.client() as client:
        with Receiver().listening() as receiver:
            made = await endpoint(client, receiver.url)
            kept = await client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
            assert kept.id == made.id and kept.signing_secret != made.signing_secret
            await client.webhooks.test(made.id, event_type="batch.completed")
            seen = await receiver.next()
            assert len(seen.headers["webhook-signature"].split()) == 2
            for secret in (made.signing_secret, kept.signing_secret):
                unwrapped(client, seen, secret)
            last = await client.webhooks.rotate_secret(made.id)
            await client.webhooks.test(made.id, event_type="batch.completed")
            seen = await receiver.next()
            unwrapped(client, seen, last.signing_secret)
            for secret in (made.signing_secret, kept.signing_secret):
                with pytest.raises(InvalidWebhookSignatureError):
                    unwrapped(client, seen, secret)


@pytest.mark.parametrize("kind", ALL)
async def test_a_test_sends_one_event_and_says_what_came_back(kind: Any) -> None:
    async with live(webhooks=LOOPBACK) as server, server.client() as client:
        with Receiver(200, 503).listening() as receiver:
            made = await endpoint(client, receiver.url, ["batch.failed"])
            for status in (200, 503):
                told = await client.webhooks.test(made.id, event_type=kind)
                assert (told.status_code, told.success, told.event_type) == (status, True, kind)
                assert told.webhook_endpoint_id == made.id
                assert unwrapped(client, await receiver.next(), made.signing_secret).type == kind
            assert receiver.count == 0
        with pytest.raises(BadRequestError) as refused:
            await client.webhooks.test(made.id, event_type=kind)
        assert refused.value.code == "webhook_not_delivered"
        for wrong in ("response.completed", None):
            with pytest.raises(APIStatusError) as refused:
                await client.post(f"/webhook_endpoints/{made.id}/test", body={"event_type": wrong}, cast_to=object)
            assert (refused.value.status_code, refused.value.param) == (400, "event_type")


async def test_a_name_that_leads_inside_is_refused_at_both_ends() -> None:
    answers = ["127.0.0.1"]

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers

    settings = WebhookSettings(resolve=resolve, notify=AT_ONCE)
    async with live(webhooks=settings) as server, server.client() as client:
        with Receiver().listening() as receiver:
            url = receiver.url.replace("127.0.0.1", "hooks.example")
            with pytest.raises(BadRequestError, match=r"hooks\.example is not on the public internet"):
                await endpoint(client, url)
            answers[:] = ["1.1.1.1"]
            made = await endpoint(client, url)
            answers[:] = ["127.0.0.1"]
            with pytest.raises(BadRequestError, match="not on the public internet") as refused:
                await client.webhooks.test(made.id, event_type="batch.failed")
            assert refused.value.code == "webhook_not_delivered" and receiver.count == 0
