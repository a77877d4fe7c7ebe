"""Webhooks by the official Gemini client: managed over the wire, delivered to real receivers on loopback."""

# The client's types of webhooks are private to it.
# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false, reportUnknownVariableType=false, reportMissingTypeStubs=false

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import types
from google.genai._gaos.lib.compat_errors import (
    APIStatusError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from openai import AsyncOpenAI, InvalidWebhookSignatureError

from batchyard.domain.access import HOME, Caller, Quota, Role
from batchyard.domain.batch import Batch, BatchState, Form
from batchyard.domain.event import arrival
from batchyard.domain.file import File
from batchyard.domain.hooks import Hooks
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.service.batches import CreateBatch
from batchyard.service.ids import Ids
from batchyard.service.webhooks import WebhookRules
from batchyard.wiring.secret import HOOK_FILE
from batchyard.wiring.webhooks import WebhookSettings
from tests.support.genai import client_of, talking
from tests.support.receiver import AT_ONCE, LOOPBACK, PUBLIC, Receiver, public
from tests.support.serving import MODEL, Live, live
from tests.support.tenants import FakeClock, a_file, pieces
from tests.support.tenants import a_batch as made_batch
from tests.support.web_server import Exchange, Seen, serving

ALL: Any = ["batch.succeeded", "batch.failed", "batch.expired", "batch.cancelled"]
US = Caller(HOME, Role.ADMIN)
WANTED = CreateBatch(input_file_id="file-none", endpoint="/v1/chat/completions", completion_window="24h")
URI = "https://ci.example/hook/"
KEEP: Any = "revoke_previous_secrets_after_h24"
AT_ONCE_GONE: Any = "revoke_previous_secrets_immediately"


async def made(client: Any, uri: str = URI, events: Any = ALL) -> Any:
    return await client.webhooks.create(name="ci", uri=uri, subscribed_events=events)


async def refused(call: Awaitable[Any], error: type[APIStatusError], said: str) -> None:
    with pytest.raises(error, match=said):
        await call


def verified(seen: Seen, *secrets: str) -> Any:
    """The body of a delivery, once each secret has verified it."""
    checker = AsyncOpenAI(api_key="none")
    for secret in secrets:
        checker.webhooks.verify_signature(seen.body, seen.headers, secret=secret)
    return msgspec.json.decode(seen.body)


async def a_batch(server: Live, **changes: Any) -> Batch:
    """A new batch of the project, which nobody walks."""
    batch = made_batch(project=HOME, created_at=int(server.house.clock.now()), **changes)
    return await server.store.batches.add(batch, arrival(Ids(server.house.ids).event(), batch), Quota())


async def ended(server: Live, batch: Batch, *through: BatchState, output: File | None = None) -> Batch:
    """The batch in the last of these states."""
    ids = Ids(server.house.ids)
    for state in through:
        before, batch = batch, batch.move(state, int(server.house.clock.now()))
        files = [output] if output and state.terminal else []
        batch = msgspec.structs.replace(batch, output_file_id=files[0].id if files else None)
        assert await server.store.batches.move(before.state, batch, arrival(ids.event(), batch), files)
    return batch


COMPLETED = (BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.COMPLETED)
EXPIRED = (BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.EXPIRED)
CANCELLED = (BatchState.CANCELLING, BatchState.CANCELLED)


def bare(batch: Batch) -> str:
    return batch.id.removeprefix("batch_")


# Managing


async def test_a_webhook_is_made_read_changed_and_deleted() -> None:
    clock = FakeClock()
    async with live(webhooks=PUBLIC, clock=clock) as server, talking(server) as client:
        hook = await made(client, events=["batch.succeeded", "batch.succeeded"])
        assert len(hook.id) == 32 and set(hook.id) <= set("0123456789abcdef")
        assert hook.new_signing_secret.startswith("whsec_")
        assert (hook.name, hook.uri, hook.subscribed_events) == ("ci", URI, ["batch.succeeded"])
        assert hook.state == "enabled" and hook.create_time.timestamp() == clock.at()
        (shown,) = hook.signing_secrets
        assert shown.truncated_secret == f"whsec_...{hook.new_signing_secret[-4:]}" and shown.expire_time is None
        clock.time += 10
        read = await client.webhooks.get(hook.id)
        assert read.new_signing_secret is None and read.signing_secrets == hook.signing_secrets
        changed: Any = await client.webhooks.update(
            hook.id, uri="https://other.example", name="new", subscribed_events=["batch.failed"], update_mask="uri"
        )
        assert (changed.uri, changed.name, changed.subscribed_events) == (
            "https://other.example", "ci", ["batch.succeeded"],
        )  # fmt: skip
        assert changed.update_time.timestamp() == clock.at() and changed.create_time == hook.create_time
        changed = await client.webhooks.update(hook.id, name="new", state="disabled", subscribed_events=ALL)
        assert (changed.name, changed.state, changed.subscribed_events) == ("new", "disabled", ALL)
        assert await client.webhooks.get(hook.id) == changed
        await client.webhooks.delete(hook.id)
        await refused(client.webhooks.get(hook.id), NotFoundError, f"no webhook '{hook.id}'")
        assert (await client.webhooks.list()).webhooks == []


async def test_the_blocking_client_does_the_same() -> None:
    async with live(webhooks=LOOPBACK) as server:
        with Receiver().listening() as receiver:
            await asyncio.to_thread(_all_calls, client_of(server), receiver.url)
            assert msgspec.json.decode((await receiver.next()).body)["type"] == "webhook.ping"


def _all_calls(client: genai.Client, uri: str) -> None:
    hook: Any = client.webhooks.create(uri=uri, subscribed_events=["batch.failed"])
    assert hook.name is None and hook.new_signing_secret
    assert [each.id for each in client.webhooks.list(page_size=1).webhooks or []] == [hook.id]
    assert client.webhooks.update(hook.id, state="enabled", update_mask="state").state == "enabled"
    client.webhooks.ping(hook.id)
    rotated = client.webhooks.rotate_signing_secret(hook.id, revocation_behavior=KEEP)
    assert rotated.secret and rotated.secret != hook.new_signing_secret
    assert len(client.webhooks.get(hook.id).signing_secrets or []) == 2
    client.webhooks.delete(hook.id)
    with pytest.raises(NotFoundError):
        client.webhooks.delete(hook.id)
    client.close()


async def test_pages_bring_each_webhook_once_newest_first() -> None:
    async with live(webhooks=PUBLIC) as server, talking(server, version="v1beta") as client:
        hooks = [await made(client, f"https://{number}.example") for number in range(5)]
        seen: list[str | None] = []
        token: str | None = None
        while token is not None or not seen:
            page = await client.webhooks.list(page_size=2, page_token=token)
            seen += [each.id for each in page.webhooks or []]
            token = page.next_page_token
        assert seen == [each.id for each in reversed(hooks)]
        await refused(client.webhooks.list(page_token="never"), BadRequestError, "page_token")


async def test_each_wire_has_the_endpoints_that_were_made_on_it_and_both_share_a_quota() -> None:
    settings = WebhookSettings(resolve=public, rules=WebhookRules(endpoints=2))
    async with live(webhooks=settings) as server, talking(server) as client, server.client() as openai:
        theirs = await openai.webhooks.create(name="ci", url=URI, event_types=["batch.completed"])
        hook = await made(client)
        status, answer = await server.json("POST", "/v1beta/webhooks", {"uri": URI, "subscribed_events": ALL})
        assert (status, answer["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert [each.id for each in (await openai.webhooks.list()).data] == [theirs.id]
        assert [each.id for each in (await client.webhooks.list()).webhooks or []] == [hook.id]
        await refused(client.webhooks.get(theirs.id.removeprefix("we_")), NotFoundError, "no webhook")
        status, _ = await server.json("DELETE", f"/v1/webhook_endpoints/we_{hook.id}")
        assert status == 404 and (await client.webhooks.get(hook.id)).id == hook.id


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"subscribed_events": ALL}, "uri", "'uri' is missing"),
        ({"uri": URI}, "subscribed_events", "missing"),
        ({"uri": URI, "subscribed_events": []}, "subscribed_events", "missing"),
        ({"uri": URI, "subscribed_events": ["batch.failed", "batch.completed"]}, "subscribed_events[1]",
         "batch.succeeded"),
        ({"uri": URI, "subscribed_events": ["video.generated"]}, "subscribed_events[0]", "no event 'video.generated'"),
        ({"uri": URI, "subscribed_events": [1]}, "subscribed_events[0]", "must be a string"),
        ({"uri": "ftp://x", "subscribed_events": ALL}, "uri", "'uri': expected an http"),
        ({"uri": "http://10.0.0.1/", "subscribed_events": ALL}, "uri", "not on the public internet"),
        ({"url": URI, "subscribed_events": ALL}, "url", "Did you mean 'uri'"),
        ({"uri": URI, "subscribed_events": ALL, "name": "n" * 201}, "name", "200 characters"),
        ({"uri": URI, "subscribed_events": ALL, "name": 7}, "name", "must be a string"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused_by_its_name(body: Any, field: str, said: str) -> None:
    async with live(webhooks=PUBLIC) as server:
        status, answer = await server.json("POST", "/v1beta/webhooks", body)
        error = answer["error"]
        assert (status, error["status"]) == (400, "INVALID_ARGUMENT") and said in error["message"]
        (detail,) = error["details"]
        assert detail["fieldViolations"][0]["field"] == field


@pytest.mark.parametrize(
    ("mask", "body", "said"),
    [
        ("id", {"uri": URI}, "no 'id' to change"),
        ("uri", {"name": "x"}, "mask names 'uri'"),
        ("", {"state": "disabled_due_to_failed_deliveries"}, "cannot be made"),
        ("uri", {"uri": "http://127.0.0.1/"}, "public internet"),
        ("", {"nothing": 1}, "Unknown field"),
        ("", [], "not a JSON object"),
    ],
)
async def test_a_change_that_cannot_be_made_changes_nothing(mask: str, body: Any, said: str) -> None:
    async with live(webhooks=PUBLIC) as server, talking(server) as client:
        hook = await made(client)
        status, answer = await server.json("PATCH", f"/v1beta/webhooks/{hook.id}?updateMask={mask}", body)
        assert status == 400 and said in answer["error"]["message"]
        assert (await client.webhooks.get(hook.id)).update_time == hook.update_time


WORDS = ["%00", "%ED%A0%80", "%ff", "a" * 5_000, "%27;--", "..%2Fx", "x:ping", "x:nothing", "%D9%A3", "we_x"]
URIS = ["x", "http://", "http://[", "http://a:99999/", "https://user:pass@127.0.0.1/", "file:///x", "http://\x00/",
        "http://0x7f.1/", "http://2130706433/", "http://[::ffff:127.0.0.1]/", "HTTP://169.254.169.254/",
        "http://a b/"]  # fmt: skip


async def test_no_word_and_no_url_makes_the_server_fail() -> None:
    async with live() as server:
        for word in WORDS:
            for method, path in (("GET", f"/{word}"), ("DELETE", f"/{word}"), ("POST", f"/{word}:ping"),
                                 ("GET", f"?page_token={word}"), ("GET", f"?page_size={word}")):  # fmt: skip
                status, answer = await server.json(method, f"/v1beta/webhooks{path}")
                assert status in (200, 400, 404) and answer.get("error", {"code": 200})["code"] == status, (
                    method,
                    path,
                )
        for uri in URIS:
            status, answer = await server.json("POST", "/v1beta/webhooks", {"uri": uri, "subscribed_events": ALL})
            (detail,) = answer["error"]["details"]
            assert status == 400 and detail["fieldViolations"][0]["field"] == "uri", uri
        for body in (b"", b"[]", b"{", b'"x"', b'{"name": "\\ud800"}', b"[" * 200, b'{"uri": 1e999}', b"\xff"):
            for method, path in (("POST", ""), ("PATCH", "/x"), ("POST", "/x:rotateSigningSecret")):
                status, _, _ = await server.call(method, f"/v1beta/webhooks{path}", body)
                assert status in (400, 404), (method, path, body)


async def test_a_whole_webhook_may_be_sent_back_and_in_camel_case() -> None:
    async with live(webhooks=PUBLIC) as server, talking(server) as client:
        hook = await made(client)
        whole = {**hook.model_dump(mode="json"), "subscribed_events": ["batch.failed"]}
        status, answer = await server.json("PATCH", f"/v1beta/webhooks/{hook.id}?update_mask=*", whole)
        assert (status, answer["subscribed_events"]) == (200, ["batch.failed"])
        path = f"/v1beta/webhooks/{hook.id}?updateMask=subscribedEvents"
        status, answer = await server.json("PATCH", path, {"subscribedEvents": ["batch.expired"]})
        assert (status, answer["subscribed_events"]) == (200, ["batch.expired"])


async def test_viewers_see_webhooks_and_change_none() -> None:
    async with live(webhooks=PUBLIC) as server, talking(server) as client:
        hook = await made(client)
        async with talking(server, key=await server.key(Role.VIEWER)) as viewer:
            assert [each.id for each in (await viewer.webhooks.list()).webhooks or []] == [hook.id]
            for call in _changes(viewer, hook.id):
                await refused(call, PermissionDeniedError, "viewer")
        assert (await client.webhooks.get(hook.id)).name == "ci"


async def test_another_projects_webhook_is_unknown() -> None:
    async with live(webhooks=PUBLIC) as server, talking(server) as client:
        hook = await made(client)
        async with talking(server, key=await server.key(Role.ADMIN, project="other")) as other:
            assert (await other.webhooks.list()).webhooks == []
            for id in (hook.id, "0" * 32):
                for call in (other.webhooks.get(id), *_changes(other, id)):
                    await refused(call, NotFoundError, f"no webhook '{id}'")
        assert (await client.webhooks.get(hook.id)).update_time == hook.update_time


def _changes(client: Any, id: str) -> list[Awaitable[Any]]:
    hooks = client.webhooks
    return [hooks.update(id, name="x"), hooks.rotate_signing_secret(id), hooks.ping(id), hooks.delete(id)]


# Delivering


async def test_each_end_is_told_in_geminis_words() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    clock = FakeClock(now.timestamp())
    async with live(webhooks=LOOPBACK, clock=clock) as server, talking(server) as client:
        with Receiver().listening() as receiver:
            hook = await made(client, receiver.url)
            told: list[tuple[Batch, Any]] = []
            for form, states, output in (
                (Form.GEMINI, COMPLETED, a_file(project=HOME)),
                (Form.OPENAI, COMPLETED, a_file(id="file-abc", project=HOME)),
                (Form.OPENAI, COMPLETED, None),
                (Form.GEMINI, EXPIRED, a_file(project=HOME)),
                (Form.GEMINI, CANCELLED, a_file(project=HOME)),
            ):
                batch = await ended(server, await a_batch(server, form=form), *states, output=output)
                told.append((batch, seen := await receiver.next()))
                assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
                assert seen.headers["webhook-id"].startswith("msg_")
            bodies = [verified(seen, hook.new_signing_secret) for _, seen in told]
            at = now.isoformat().replace("+00:00", "Z")
            words = ["batch.succeeded"] * 3 + ["batch.expired", "batch.cancelled"]
            files = [f"files/batch-{bare(told[0][0])}", "files/abc", None, None, None]
            for (batch, _), body, word, file in zip(told, bodies, words, files, strict=True):
                data = {"id": f"batches/{bare(batch)}"} | ({} if file is None else {"output_file_uri": file})
                assert body == {"type": word, "version": "v1", "timestamp": at, "data": data}
            assert receiver.count == 0


async def test_a_job_that_cannot_run_says_why_and_the_other_wire_hears_of_it_too() -> None:
    """It names a file that never was."""
    walks = CalendarSettings(look_seconds=1)
    async with live(walks=walks, webhooks=LOOPBACK) as server, talking(server) as client, server.client() as openai:
        with Receiver().listening() as receiver, Receiver().listening() as other:
            hook = await made(client, receiver.url, ["batch.failed"])
            theirs = await openai.webhooks.create(name="o", url=other.url, event_types=["batch.failed"])
            batch = await server.house.batches.create(US, WANTED)
            body = verified(await receiver.next(), hook.new_signing_secret)
            assert body["data"]["id"] == f"batches/{bare(batch)}" and body["data"]["error_code"] == 3
            assert "file-none" in body["data"]["error_message"]
            event = openai.webhooks.unwrap(*_sent(await other.next()), secret=theirs.signing_secret)
            assert event.type == "batch.failed" and event.data.id == batch.id


def _sent(seen: Seen) -> tuple[bytes, dict[str, str]]:
    return seen.body, seen.headers


async def test_a_delivery_is_tried_again_with_the_same_body_and_id() -> None:
    clock = FakeClock()
    async with live(webhooks=LOOPBACK, clock=clock) as server, talking(server) as client:
        with Receiver(500, 302, 204, clock=clock).listening() as receiver:
            await made(client, receiver.url)
            await ended(server, await a_batch(server, form=Form.GEMINI), *COMPLETED, output=a_file(project=HOME))
            tries = [await receiver.next() for _ in range(3)]
            assert len({each.body for each in tries}) == len({each.headers["webhook-id"] for each in tries}) == 1
            assert len({each.headers["webhook-signature"] for each in tries}) == 3


async def test_a_disabled_webhook_is_told_nothing_and_never_hears_of_what_happened_meanwhile() -> None:
    async with live(webhooks=LOOPBACK) as server, talking(server) as client:
        with Receiver().listening() as receiver:
            hook = await made(client, receiver.url)
            await client.webhooks.update(hook.id, state="disabled")
            await ended(server, await a_batch(server), *CANCELLED)
            await client.webhooks.update(hook.id, state="enabled")
            batch = await ended(server, await a_batch(server), *CANCELLED)
            body = verified(await receiver.next(), hook.new_signing_secret)
            assert body["data"]["id"] == f"batches/{bare(batch)}" and receiver.count == 0


async def test_a_rotated_secret_signs_beside_the_new_one_or_ends_at_once() -> None:
    async with live(webhooks=LOOPBACK) as server, talking(server) as client:
        with Receiver().listening() as receiver:
            hook = await made(client, receiver.url)
            kept = await client.webhooks.rotate_signing_secret(hook.id, revocation_behavior=KEEP)
            newest, oldest = (await client.webhooks.get(hook.id)).signing_secrets or []
            assert newest.expire_time is None and oldest.expire_time is not None
            await client.webhooks.ping(hook.id)
            body = verified(await receiver.next(), hook.new_signing_secret, kept.secret or "")
            assert (body["type"], body["version"], body["data"]) == ("webhook.ping", "v1", {})
            last = await client.webhooks.rotate_signing_secret(hook.id, revocation_behavior=AT_ONCE_GONE)
            await client.webhooks.ping(hook.id)
            seen = await receiver.next()
            verified(seen, last.secret or "")
            for secret in (hook.new_signing_secret, kept.secret or ""):
                with pytest.raises(InvalidWebhookSignatureError):
                    verified(seen, secret)
            path = f"/v1beta/webhooks/{hook.id}:rotateSigningSecret"
            status, _ = await server.json("POST", path, {"revocationBehavior": "REVOKE_PREVIOUS_SECRETS_AFTER_H24"})
            assert status == 200
            status, answer = await server.json("POST", path, {"revocation_behavior": "never"})
            assert status == 400 and "revoke_previous_secrets_immediately" in answer["error"]["message"]


async def test_a_host_that_nobody_knows_yet_is_taken_and_judged_when_there_is_something_to_deliver() -> None:
    found: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        return found

    settings = WebhookSettings(resolve=resolve, notify=AT_ONCE)
    async with live(webhooks=settings) as server, talking(server) as client:
        hook = await made(client, "https://later.example/hook")
        own = types.CreateBatchJobConfig(webhook_config=types.WebhookConfig(uris=["https://later.example/own"]))
        job = await client.batches.create(model=MODEL, src=[{"contents": "hi"}], config=own)  # type: ignore[list-item]
        assert job.name is not None
        await refused(client.webhooks.ping(hook.id), BadRequestError, "cannot be resolved")
        found.append("10.0.0.1")
        await refused(client.webhooks.ping(hook.id), BadRequestError, "not on the public internet")
        await refused(made(client, "https://later.example/hook"), BadRequestError, "not on the public internet")


async def test_a_ping_that_is_not_taken_is_an_error() -> None:
    async with live(webhooks=LOOPBACK) as server, talking(server) as client:
        with Receiver(503).listening() as receiver:
            hook = await made(client, receiver.url)
            await refused(client.webhooks.ping(hook.id), BadRequestError, "status 503")
        await refused(client.webhooks.ping(hook.id), BadRequestError, "not delivered")


# Hooks of a job's own


async def test_a_jobs_own_webhooks_are_told_instead_with_its_metadata_signed_by_the_server() -> None:
    async with live(webhooks=LOOPBACK) as server, talking(server) as client, server.client() as openai:
        with Receiver().listening() as own, Receiver().listening() as all_of, Receiver().listening() as other:
            hook = await made(client, all_of.url)
            await openai.webhooks.create(name="o", url=other.url, event_types=["batch.completed"])
            metadata = {"snake_case": {"camelCase": [1, None, "ü"]}}
            hooks = Hooks(uris=(own.url, own.url + "&2"), user_metadata=metadata)
            batch = await a_batch(server, form=Form.GEMINI, hooks=hooks)
            await ended(server, batch, *COMPLETED, output=a_file(project=HOME))
            secret = _hook_secret(server)
            heard = [await own.next(), await own.next()]
            assert len({each.path for each in heard}) == 2
            for seen in heard:
                body = verified(seen, secret)
                assert body["user_metadata"] == metadata and body["type"] == "batch.succeeded"
                assert body["data"] == {
                    "id": f"batches/{bare(batch)}", "output_file_uri": f"files/batch-{bare(batch)}"
                }  # fmt: skip
            assert b'"batch.completed"' in (await other.next()).body
            plain = await ended(server, await a_batch(server, form=Form.GEMINI), *CANCELLED)
            body = verified(await all_of.next(), hook.new_signing_secret)
            assert body["data"] == {"id": f"batches/{bare(plain)}"} and "user_metadata" not in body
            assert (own.count, all_of.count, other.count) == (0, 0, 0)


def _hook_secret(server: Live) -> str:
    path = Path(server.folder) / HOOK_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text().strip()


async def test_metadata_without_uris_goes_to_the_projects_webhooks() -> None:
    async with live(webhooks=LOOPBACK) as server, talking(server) as client:
        with Receiver().listening() as receiver:
            hook = await made(client, receiver.url)
            batch = await a_batch(server, form=Form.GEMINI, hooks=Hooks(user_metadata={"run": 7}))
            await ended(server, batch, *CANCELLED)
            assert verified(await receiver.next(), hook.new_signing_secret)["user_metadata"] == {"run": 7}


async def test_a_jobs_webhook_that_hangs_delays_no_job_and_no_other_webhook() -> None:
    settings = WebhookSettings(allow_private=("127.0.0.1",), notify=AT_ONCE, timeout_seconds=0.5)
    hung, loop = asyncio.Queue[str](), asyncio.get_running_loop()

    def hang(exchange: Exchange) -> None:
        """Read on until the other side goes."""
        loop.call_soon_threadsafe(hung.put_nowait, exchange.seen.headers["webhook-id"])
        exchange.rfile.read(1)
        exchange.drop()

    async with live(webhooks=settings) as server, talking(server) as client:
        with serving(hang) as slow, Receiver().listening() as receiver:
            hook = await made(client, receiver.url)
            for _ in range(6):  # more than go out to one receiver at once
                await ended(server, await a_batch(server, form=Form.GEMINI, hooks=Hooks(uris=(slow.url,))), *CANCELLED)
            first = await hung.get()
            batch = await ended(server, await a_batch(server, form=Form.GEMINI), *CANCELLED)
            body = verified(await receiver.next(), hook.new_signing_secret)
            assert body["data"]["id"] == f"batches/{bare(batch)}"
            async with asyncio.timeout(30):
                while await hung.get() != first:  # a time-out is tried again
                    pass


async def test_a_job_of_the_official_client_is_told_where_it_says() -> None:
    walks = CalendarSettings(look_seconds=1)
    async with live(walks=walks, webhooks=LOOPBACK) as server, talking(server) as client:
        with Receiver().listening() as receiver:
            metadata = {"job_group": "nightly", "Weights": {"A_b": 1}}
            config = types.CreateBatchJobConfig(
                webhook_config=types.WebhookConfig(uris=[receiver.url], user_metadata=metadata)
            )
            rows = b'{"key": "a", "request": {"contents": [{"parts": [{"text": "hi"}]}]}}\n'
            file = await server.house.files.upload(US, "rows.jsonl", "batch", pieces(rows))
            name = f"files/{file.id.removeprefix('file-')}"
            inline: Any = [{"contents": "hi"}]
            for src in (name, inline):
                job = await client.batches.create(model=MODEL, src=src, config=config)
                body = verified(await receiver.next(), _hook_secret(server))
                assert (body["type"], body["user_metadata"]) == ("batch.succeeded", metadata)
                done = await client.batches.get(name=job.name or "")
                assert done.state is types.JobState.JOB_STATE_SUCCEEDED and body["data"]["id"] == done.name
                assert done.dest is not None and body["data"].get("output_file_uri") == done.dest.file_name
            assert receiver.count == 0


@pytest.mark.parametrize(
    ("config", "field", "said"),
    [
        ({"uris": ["https://a.example", "http://10.0.0.1/"]}, ".uris[1]", "public internet"),
        ({"uris": ["http://169.254.169.254/"]}, ".uris[0]", "public internet"),
        ({"uris": ["no url"]}, ".uris[0]", "expected an http"),
        ({"uris": [f"https://{n}.example" for n in range(6)]}, ".uris", "at most 5"),
        ({"uri": "https://a.example"}, ".uri", "Did you mean 'uris'"),
        ({"user_metadata": {"a": "x" * 4096}}, ".userMetadata", "4096 bytes"),
        ({"user_metadata": [1]}, ".userMetadata", "must be an object"),
    ],
)
async def test_hooks_that_cannot_be_told_are_refused_with_the_job(config: Any, field: str, said: str) -> None:
    asked: Any = {"inputConfig": {"fileName": "files/a"}, "webhookConfig": config}
    async with live(webhooks=PUBLIC) as server:
        status, answer = await server.json("POST", f"/v1/models/{MODEL}:batchGenerateContent", {"batch": asked})
        error = answer["error"]
        assert (status, error["status"]) == (400, "INVALID_ARGUMENT") and said in error["message"]
        assert error["details"][0]["fieldViolations"][0]["field"] == f"batch.webhookConfig{field}"
        assert (await server.house.batches.list(US)).rows == []


async def test_metadata_without_a_floor_is_refused() -> None:
    deep = b'{"batch": {"inputConfig": {"fileName": "files/a"}, "webhookConfig": {"userMetadata": {"a": %b}}}}'
    async with live() as server:
        path = f"/v1/models/{MODEL}:batchGenerateContent"
        for levels in (100, 900, 5_000, 200_000):
            status, _, _ = await server.call("POST", path, deep % (b"[" * levels + b"]" * levels))
            assert status == 400, levels
