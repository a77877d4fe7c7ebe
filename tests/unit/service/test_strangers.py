"""No project sees, lists, counts, cancels or infers another's anything.

Every call of the service is made twice by a stranger: with ids that belong to someone else, and with ids that never
were. Whatever comes back must be the same, whatever time it is and whatever state the other's things are in; and the
other finds everything as it was.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.domain.access import HOME, Caller, Key, ProjectId, Quota, Role
from batchyard.domain.batch import Batch, BatchId, Form
from batchyard.domain.errors import BatchyardError
from batchyard.domain.file import File, FileId
from batchyard.domain.hooks import Hooks
from batchyard.domain.resumable import Resumable
from batchyard.domain.upload import Part, Upload
from batchyard.domain.webhook import Delivery, EndpointFields, WebhookEndpoint
from batchyard.service.access import Access
from batchyard.service.batches import Batches, CreateBatch
from batchyard.service.files import Files
from batchyard.service.model_batches import CreateModelBatch, ModelBatches
from batchyard.service.resumables import CreateResumable, Received, Resumables
from batchyard.service.retry import Retries, RetryBatch
from batchyard.service.uploads import CreateUpload, Uploads
from batchyard.service.webhooks import Webhooks
from batchyard.store import Direction, Page
from tests.support.house import A_LINE, House, Rules, open_house
from tests.support.tenants import OURS, THEIRS, THEM, US, a_batch, an_event, changed, pieces, poured

ASKED = CreateUpload(filename="a", purpose="user_data", bytes=5, mime_type="text/plain")
HOOK = EndpointFields(name="ci", url="https://ci.example/", event_kinds=("batch.failed",))
OPERATOR = Caller(HOME, Role.ADMIN)

Names = dict[str, str]
"""What a call names: ids of ours, or ids that never were."""
UNKNOWN: Names = {
    "file": "file-0000000000000000000000",
    "gone file": "file-1111111111111111111111",
    "upload": "upload_00000000000000000000000000000000",
    "ended upload": "upload_11111111111111111111111111111111",
    "part": "part_00000000000000000000000000000000",
    "batch": "batch_00000000000000000000000000000000",
    "ended batch": "batch_11111111111111111111111111111111",
    "model batch": "batch_22222222222222222222222222222222",
    "gone batch": "batch_33333333333333333333333333333333",
    "endpoint": "we_00000000000000000000000000000000",
    "gone endpoint": "we_11111111111111111111111111111111",
    "Gemini endpoint": "we_22222222222222222222222222222222",
    "hook": "batch_44444444444444444444444444444444_0",
    "key": "key_0000000000000000000000",
    "project": "proj_0000000000000000000000",
    "name": "never-there",
    "secret": "never-told",
    "used secret": "never-told-either",
    "idempotency": "never used",
}

Call = Callable[[House, Caller, Names], Awaitable[object]]


def _create(ids: Names) -> CreateBatch:
    return CreateBatch(input_file_id=ids["file"], endpoint="/v1/embeddings", completion_window="24h")


def _of_model(file: FileId | None = None) -> CreateModelBatch:
    lines = A_LINE if file is None else None
    return CreateModelBatch(model="m", endpoint="/v1/embeddings", form=Form.GEMINI, input_file_id=file, lines=lines)


async def _receive(house: House, caller: Caller, ids: Names) -> object:
    async with house.files.receive(caller) as receiving:
        await receiving.write(A_LINE)
        return await receiving.keep("a", "batch", idempotency_key=ids["idempotency"])


async def _receive_part(house: House, caller: Caller, id: str) -> object:
    async with house.uploads.receive_part(caller, id) as receiving:
        await receiving.write(b"given")
        return await receiving.keep()


CALLS: dict[str, list[Call]] = {
    "Files.get": [lambda h, c, ids: h.files.get(c, ids["file"]), lambda h, c, ids: h.files.get(c, ids["gone file"])],
    "Files.named": [lambda h, c, ids: h.files.named(c, ids["name"])],
    "Files.content": [lambda h, c, ids: h.files.content(c, ids["file"])],
    "Files.delete": [
        lambda h, c, ids: h.files.delete(c, ids["file"]),
        lambda h, c, ids: h.files.delete(c, ids["gone file"]),
    ],
    "Files.list": [
        lambda h, c, ids: h.files.list(c),
        lambda h, c, ids: h.files.list(c, limit=1, direction=Direction.ASC),
        lambda h, c, ids: h.files.list(c, after=ids["file"]),
        lambda h, c, ids: h.files.list(c, after=ids["gone file"]),
    ],
    "Files.upload": [lambda h, c, ids: h.files.upload(c, "a", "batch", pieces(A_LINE))],
    "Files.receive": [_receive],
    "Uploads.create": [
        lambda h, c, ids: h.uploads.create(c, changed(ASKED, bytes=6), idempotency_key=ids["idempotency"])
    ],
    "Uploads.add_part": [
        lambda h, c, ids: h.uploads.add_part(c, ids["upload"], pieces(b"given")),
        lambda h, c, ids: h.uploads.add_part(c, ids["ended upload"], pieces(b"given")),
    ],
    "Uploads.receive_part": [
        lambda h, c, ids: _receive_part(h, c, ids["upload"]),
        lambda h, c, ids: _receive_part(h, c, ids["ended upload"]),
    ],
    "Uploads.complete": [
        lambda h, c, ids: h.uploads.complete(c, ids["upload"], [ids["part"]]),
        lambda h, c, ids: h.uploads.complete(c, ids["ended upload"], []),
    ],
    "Uploads.cancel": [
        lambda h, c, ids: h.uploads.cancel(c, ids["upload"]),
        lambda h, c, ids: h.uploads.cancel(c, ids["ended upload"]),
    ],
    "Resumables.create": [
        lambda h, c, ids: h.resumables.create(c, CreateResumable(name=ids["name"], bytes=5)),
        lambda h, c, ids: h.resumables.create(c, CreateResumable(bytes=20_000)),
    ],
    "Resumables.get": [
        lambda h, c, ids: h.resumables.get(c, ids["secret"]),
        lambda h, c, ids: h.resumables.get(c, ids["used secret"]),
    ],
    "Resumables.receive": [
        lambda h, c, ids: h.resumables.receive(c, ids["secret"], 0, poured(pieces(b"given")), last=True),
        lambda h, c, ids: h.resumables.receive(c, ids["secret"], 9, poured(pieces(b"given")), last=False),
        lambda h, c, ids: h.resumables.receive(c, ids["used secret"], 0, poured(pieces(b"given")), last=True),
    ],
    "Resumables.cancel": [
        lambda h, c, ids: h.resumables.cancel(c, ids["secret"]),
        lambda h, c, ids: h.resumables.cancel(c, ids["used secret"]),
    ],
    "Batches.create": [
        lambda h, c, ids: h.batches.create(c, _create(ids)),
        lambda h, c, ids: h.batches.create(c, changed(_create(ids), metadata={}), idempotency_key=ids["idempotency"]),
        lambda h, c, ids: h.batches.create(c, changed(_create(ids), input_file_id=ids["gone file"])),
    ],
    "Batches.enqueued": [lambda h, c, ids: h.batches.enqueued(c, ids["file"])],
    "Batches.get": [
        lambda h, c, ids: h.batches.get(c, ids["batch"]),
        lambda h, c, ids: h.batches.get(c, ids["ended batch"]),
    ],
    "Batches.list": [
        lambda h, c, ids: h.batches.list(c),
        lambda h, c, ids: h.batches.list(c, limit=1, direction=Direction.ASC),
        lambda h, c, ids: h.batches.list(c, after=ids["batch"]),
    ],
    "Batches.cancel": [
        lambda h, c, ids: h.batches.cancel(c, ids["batch"]),
        lambda h, c, ids: h.batches.cancel(c, ids["ended batch"]),
    ],
    "ModelBatches.create": [
        lambda h, c, ids: h.model_batches.create(c, _of_model(FileId(ids["file"]))),
        lambda h, c, ids: h.model_batches.create(c, _of_model(FileId(ids["gone file"]))),
    ],
    "ModelBatches.get": [
        lambda h, c, ids: h.model_batches.get(c, BatchId(ids["model batch"]), Form.GEMINI),
        lambda h, c, ids: h.model_batches.get(c, BatchId(ids["gone batch"]), Form.GEMINI),
        lambda h, c, ids: h.batches.get(c, ids["gone batch"]),
    ],
    "ModelBatches.list": [
        lambda h, c, ids: h.model_batches.list(c, Form.GEMINI),
        lambda h, c, ids: h.model_batches.list(c, Form.GEMINI, after=BatchId(ids["model batch"])),
        lambda h, c, ids: h.model_batches.list(c, Form.GEMINI, after=BatchId(ids["gone batch"])),
    ],
    "ModelBatches.cancel": [
        lambda h, c, ids: h.model_batches.cancel(c, BatchId(ids["model batch"]), Form.GEMINI),
        lambda h, c, ids: h.model_batches.cancel(c, BatchId(ids["gone batch"]), Form.GEMINI),
    ],
    "ModelBatches.delete": [
        lambda h, c, ids: h.model_batches.delete(c, BatchId(ids["model batch"]), Form.GEMINI),
        lambda h, c, ids: h.model_batches.delete(c, BatchId(ids["gone batch"]), Form.GEMINI),
    ],
    "ModelBatches.describe": [
        lambda h, c, ids: h.model_batches.describe(
            c, BatchId(ids["model batch"]), Form.GEMINI, display_name="n", priority=3
        ),
    ],
    "Retries.retry": [
        lambda h, c, ids: h.retries.retry(c, ids["batch"], RetryBatch()),
        lambda h, c, ids: h.retries.retry(c, ids["ended batch"], RetryBatch(), idempotency_key=ids["idempotency"]),
    ],
    "Webhooks.create": [
        lambda h, c, ids: h.webhooks.create(c, HOOK),
        lambda h, c, ids: h.webhooks.create(c, HOOK, Form.GEMINI),
    ],
    "Webhooks.get": [
        lambda h, c, ids: h.webhooks.get(c, ids["endpoint"]),
        lambda h, c, ids: h.webhooks.get(c, ids["gone endpoint"]),
        lambda h, c, ids: h.webhooks.get(c, ids["Gemini endpoint"], Form.GEMINI),
        lambda h, c, ids: h.webhooks.get(c, ids["hook"], Form.GEMINI),
    ],
    "Webhooks.list": [
        lambda h, c, ids: h.webhooks.list(c),
        lambda h, c, ids: h.webhooks.list(c, limit=1, direction=Direction.ASC),
        lambda h, c, ids: h.webhooks.list(c, after=ids["endpoint"]),
        lambda h, c, ids: h.webhooks.list(c, after=ids["gone endpoint"]),
        lambda h, c, ids: h.webhooks.list(c, form=Form.GEMINI),
        lambda h, c, ids: h.webhooks.list(c, after=ids["hook"], form=Form.GEMINI),
    ],
    "Webhooks.update": [
        lambda h, c, ids: h.webhooks.update(c, ids["endpoint"], HOOK),
        lambda h, c, ids: h.webhooks.update(c, ids["endpoint"], EndpointFields(event_kinds=("no",))),
        lambda h, c, ids: h.webhooks.update(c, ids["gone endpoint"], HOOK),
        lambda h, c, ids: h.webhooks.update(c, ids["Gemini endpoint"], HOOK, Form.GEMINI),
        lambda h, c, ids: h.webhooks.update(c, ids["hook"], HOOK, Form.GEMINI),
    ],
    "Webhooks.delete": [
        lambda h, c, ids: h.webhooks.delete(c, ids["endpoint"]),
        lambda h, c, ids: h.webhooks.delete(c, ids["gone endpoint"]),
        lambda h, c, ids: h.webhooks.delete(c, ids["hook"], Form.GEMINI),
    ],
    "Webhooks.rotate_secret": [lambda h, c, ids: h.webhooks.rotate_secret(c, ids["endpoint"], keep_old=True)],
    "Webhooks.test": [
        lambda h, c, ids: h.webhooks.test(c, ids["endpoint"], "batch.failed"),
        lambda h, c, ids: h.webhooks.test(c, ids["gone endpoint"], "batch.failed"),
    ],
    "Webhooks.ping": [
        lambda h, c, ids: h.webhooks.ping(c, ids["Gemini endpoint"], Form.GEMINI),
        lambda h, c, ids: h.webhooks.ping(c, ids["hook"], Form.GEMINI),
    ],
    "Webhooks.kinds": [lambda h, c, ids: _kinds(h, c)],
    "Access.create_key": [
        lambda h, c, ids: h.access.create_key(c, "k", Role.ADMIN),
        lambda h, c, ids: h.access.create_key(c, "k", Role.ADMIN, project=_named(c, ids)),
    ],
    "Access.list_keys": [
        lambda h, c, ids: h.access.list_keys(c),
        lambda h, c, ids: h.access.list_keys(c, project=_named(c, ids)),
    ],
    "Access.revoke_key": [
        lambda h, c, ids: h.access.revoke_key(c, _key(ids)),
        lambda h, c, ids: h.access.revoke_key(c, _key(ids), project=_named(c, ids)),
    ],
    "Access.rotate_key": [
        lambda h, c, ids: h.access.rotate_key(c, _key(ids)),
        lambda h, c, ids: h.access.rotate_key(c, _key(ids), project=_named(c, ids)),
    ],
    "Access.list_projects": [lambda h, c, ids: h.access.list_projects(c) if not c.operator else _nothing()],
    "Access.create_project": [lambda h, c, ids: _nothing() if c.operator else h.access.create_project(c, "mine")],
}


async def _kinds(house: House, caller: Caller) -> object:
    return house.webhooks.kinds(caller)


async def _nothing() -> None:
    """The operator sees projects and their keys; that is what an operator is for."""


def _named(caller: Caller, ids: Names) -> ProjectId | None:
    return None if caller.operator else ProjectId(ids["project"])


def _key(ids: Names) -> Any:
    return ids["key"]


async def furnish(house: House) -> Names:
    """Give us one of everything, in every condition."""
    file, gone = await house.a_file(), await house.a_file()
    await house.files.delete(US, gone.id)
    upload = await house.uploads.create(US, ASKED, idempotency_key="ours")
    part = await house.uploads.add_part(US, upload.id, pieces(b"given"))
    ended = await house.uploads.create(US, changed(ASKED, bytes=0))
    await house.uploads.complete(US, ended.id, [])
    _, secret = await house.resumables.create(US, CreateResumable(bytes=5))
    await house.resumables.receive(US, secret, 0, poured(pieces(b"gi")), last=False)
    _, used = await house.resumables.create(US, CreateResumable(name="ours", bytes=5))
    await house.resumables.receive(US, used, 0, poured(pieces(b"given")), last=True)
    asked = CreateBatch(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    batch = await house.batches.create(US, asked, idempotency_key="ours")
    hooked = a_batch(hooks=Hooks(uris=("https://ci.example/",)), form=Form.GEMINI)
    await house.store.batches.add(hooked, an_event(hooked), Quota())
    done = await house.batches.create(US, asked)
    failed = done.move(done.state.FAILED, house.clock.at())
    await house.store.batches.move(done.state, failed, an_event(failed))
    of_model, gone_batch = [await house.model_batches.create(US, _of_model()) for _ in range(2)]
    await house.model_batches.delete(US, gone_batch.id, Form.GEMINI)
    endpoint, gone_endpoint = await house.webhooks.create(US, HOOK), await house.webhooks.create(US, HOOK)
    await house.webhooks.delete(US, gone_endpoint.id)
    gemini = await house.webhooks.create(US, HOOK, Form.GEMINI)
    key, _ = await house.access.create_key(US, "ours", Role.EDITOR)
    async with house.files.receive(US) as receiving:
        await receiving.write(A_LINE * 2)
        await receiving.keep("ours", "batch", idempotency_key="ours")
    return {
        "file": file.id,
        "gone file": gone.id,
        "upload": upload.id,
        "ended upload": ended.id,
        "part": part.id,
        "batch": batch.id,
        "ended batch": done.id,
        "model batch": of_model.id,
        "gone batch": gone_batch.id,
        "endpoint": endpoint.id,
        "gone endpoint": gone_endpoint.id,
        "Gemini endpoint": gemini.id,
        "hook": f"{hooked.id}_0",
        "key": key.id,
        "project": OURS,
        "name": "ours",
        "secret": secret,
        "used secret": used,
        "idempotency": "ours",
    }


async def outcome(call: Call, house: House, caller: Caller, ids: Names) -> object:
    """What a caller learns: a value without what is random in it, or an error in all its parts."""
    try:
        return plain(await call(house, caller, ids), ids)
    except BatchyardError as error:
        return type(error), without(str(error), ids), error.param, error.reason, without(error.remedy, ids)


def plain(value: object, ids: Names) -> object:
    if isinstance(value, Page):
        page = cast("Page[object]", value)
        return [plain(list(page.rows), ids), page.more]
    match value:
        case tuple() | list():
            return [plain(each, ids) for each in cast("list[object]", value)]
        case File() | Upload() | Batch():
            made = {"id": "?", "blob": "?", "input_file_id": "?", "file_id": "?"}
            return changed(value, **{name: new for name, new in made.items() if name in value.__struct_fields__})
        case WebhookEndpoint():
            return value.project, value.name, value.url, value.event_kinds, len(value.secrets)
        case Delivery():
            return value.event.kind, value.status
        case Part():
            return value.bytes
        case Received():
            return value.bytes, plain(value.file, ids)
        case Resumable():
            return value.bytes, value.state
        case Key():
            return value.role, value.project, value.name
        case str():
            return len(value)
        case _:
            return value


def without(text: str, ids: Names) -> str:
    for id in ids.values():
        text = text.replace(id, "?")
    return text


async def ours(house: House) -> object:
    """Everything that we can see of ourselves."""
    files = (await house.files.list(US)).rows
    return (
        files,
        [await house.bytes_of(file.id) for file in files],
        (await house.batches.list(US)).rows,
        (await house.webhooks.list(US)).rows,
        (await house.webhooks.list(US, form=Form.GEMINI)).rows,
        await house.store.webhooks.due(house.clock.at(), 100),
        await house.access.list_keys(US),
        [event for _, event in await house.store.events.after(0, 1_000, OURS)],
        await house.store.files.dead_blobs(100),
        await house.store.resumables.dead(100),
    )


def test_every_call_of_the_service_is_here() -> None:
    """A new call that names a caller must be added above."""
    found = {
        f"{service.__name__}.{name}"
        for service in (Access, Files, Uploads, Resumables, Batches, ModelBatches, Retries, Webhooks)
        for name, call in inspect.getmembers(service, inspect.isfunction)
        if not name.startswith("_") and "caller" in inspect.signature(call).parameters
    }
    assert found == CALLS.keys()


@pytest.mark.parametrize("stranger", [THEM, OPERATOR, Caller(THEIRS, Role.VIEWER)], ids=["admin", "operator", "viewer"])
@pytest.mark.parametrize("name", CALLS)
@given(later=st.sampled_from([0, 10, 3_600, 2_592_000]))
@settings(max_examples=4, deadline=None)
async def test_a_strangers_call_tells_nothing_and_changes_nothing(name: str, stranger: Caller, later: int) -> None:
    quota = Quota(files=4, batches=2, total_bytes=10_000)  # ours is full: that must not show either
    for place in range(len(CALLS[name])):
        told = list[object]()
        for ids in (None, UNKNOWN):
            house = await open_house(Rules(endpoints=2, quotas={OURS: Quota(), THEIRS: quota, HOME: quota}))
            await house.access.first_admin_key()
            names = await furnish(house)
            house.clock.time += later
            before = await ours(house)
            told.append(await outcome(CALLS[name][place], house, stranger, ids or names))
            assert await ours(house) == before
        assert told[0] == told[1]


async def test_the_test_would_notice() -> None:
    """Our own call with our own ids differs from one with unknown ids: the comparison is not blind."""
    blind = {"Files.list", "Files.upload", "Batches.list", "Access.list_keys", "Access.list_projects"}
    blind |= {"Batches.enqueued"}  # without a quota it says nothing at all: see the test of its own
    blind |= {"ModelBatches.list"}
    blind |= {"Webhooks.create", "Webhooks.list", "Webhooks.kinds"}
    blind |= {"Access.create_project", "Access.create_key"}  # these name nothing, or nothing that we lack
    for name, calls in CALLS.items():
        told = list[object]()
        for ids in (None, UNKNOWN):
            house = await open_house()
            names = await furnish(house)
            told.append(await outcome(calls[0], house, US, ids or names))
        assert name in blind or told[0] != told[1], name
