"""Batches, as a caller asks for them."""

import asyncio

import pytest

from batchyard.domain.access import Caller, KeyId, Quota, Role
from batchyard.domain.batch import TERMINAL, Batch, BatchState, Form
from batchyard.domain.errors import Conflict, Forbidden, Invalid, NotFound, QuotaExceeded
from batchyard.domain.file import ExpiresAfter
from batchyard.service.batches import CreateBatch
from batchyard.service.rules import BatchRules
from batchyard.store import BatchFilter, Direction
from tests.support.house import A_LINE, House, Rules, open_house
from tests.support.tenants import OURS, START, THEIRS, THEM, US, a_key, an_event, changed

WANTED = CreateBatch(input_file_id="file-no", endpoint="/v1/chat/completions", completion_window="24h")
PATHS: dict[BatchState, list[BatchState]] = {
    BatchState.VALIDATING: [],
    BatchState.IN_PROGRESS: [BatchState.IN_PROGRESS],
    BatchState.FINALIZING: [BatchState.IN_PROGRESS, BatchState.FINALIZING],
    BatchState.COMPLETED: [BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.COMPLETED],
    BatchState.EXPIRED: [BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.EXPIRED],
    BatchState.FAILED: [BatchState.FAILED],
    BatchState.CANCELLING: [BatchState.CANCELLING],
    BatchState.CANCELLED: [BatchState.CANCELLING, BatchState.CANCELLED],
}
"""How a batch gets into each state."""


@pytest.fixture
async def house() -> House:
    return await open_house()


async def create(house: House, **changes: object) -> Batch:
    return await house.batches.create(US, changed(WANTED, **changes))


async def refused(house: House, **changes: object) -> Invalid:
    with pytest.raises(Invalid) as told:
        await create(house, **changes)
    assert (await house.batches.list(US)).rows == []
    return told.value


async def bring(house: House, batch: Batch, state: BatchState) -> Batch:
    for to in PATHS[state]:
        moved = batch.move(to, house.clock.at())
        assert await house.store.batches.move(batch.state, moved, an_event(moved))
        batch = moved
    return batch


async def test_a_batch_is_what_was_asked_for(house: House) -> None:
    key = a_key()
    await house.store.keys.add(key)
    file = await house.a_file()
    asked = changed(
        WANTED, input_file_id=file.id, metadata={"team": "search"}, output_expires_after=ExpiresAfter(3_600)
    )
    batch = await house.batches.create(Caller(OURS, Role.EDITOR, key.id), asked)
    assert batch == Batch(
        id=batch.id,
        project=OURS,
        key_id=key.id,
        endpoint="/v1/chat/completions",
        input_file_id=file.id,
        input_blob=file.blob,
        completion_window="24h",
        window_seconds=86_400,
        metadata={"team": "search"},
        output_expires_after_seconds=3_600,
        created_at=START,
        expires_at=START + 86_400,
        deadline_at=START + 86_400,
    )
    assert batch.id.startswith("batch_")
    assert len(batch.id) == 38
    assert await house.batches.get(US, batch.id) == batch


async def test_a_new_batch_is_an_event(house: House) -> None:
    batch = await create(house)
    ((_, event),) = await house.store.events.after(0, 9)
    assert (event.kind, event.batch_id, event.project, event.at) == ("batch.validating", batch.id, OURS, START)


async def test_results_live_thirty_days_where_nothing_is_asked(house: House) -> None:
    assert (await create(house)).output_expires_after_seconds == 2_592_000


@pytest.mark.parametrize("name", ["input_file_id", "endpoint", "completion_window"])
@pytest.mark.parametrize("given", [None, ""])
async def test_what_must_be_there_is_named(house: House, name: str, given: str | None) -> None:
    told = await refused(house, **{name: given})
    assert (told.param, told.reason) == (name, "missing_required_parameter")
    assert told.message == f"Missing required parameter: '{name}'."


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("endpoint", "/v1/nonsense"),
        ("endpoint", "/chat/completions"),
        ("endpoint", "/v1/chat/completions/"),
        ("endpoint", "x" * 10_000),
        ("completion_window", "48h"),
        ("completion_window", "24H"),
    ],
)
async def test_a_word_that_is_not_offered_is_refused_with_those_that_are(house: House, name: str, given: str) -> None:
    told = await refused(house, **{name: given})
    assert (told.param, told.reason) == (name, "invalid_value")
    assert told.message.startswith("Invalid value: '")
    assert "Supported values are: '" in told.message
    assert len(told.message) < 500


async def test_only_what_the_server_offers_is_named() -> None:
    house = await open_house(
        Rules(batches=BatchRules(endpoints=("/v1/embeddings",), windows={"24h": 86_400, "1h": 3_600}))
    )
    told = await refused(house)
    assert told.message == "Invalid value: '/v1/chat/completions'. Supported values are: '/v1/embeddings'."
    batch = await create(house, endpoint="/v1/embeddings", completion_window="1h")
    assert (batch.window_seconds, batch.expires_at) == (3_600, START + 3_600)


@pytest.mark.parametrize(
    "endpoint", ["/chat/completions", "/v1/chat/completions", "/chat/completions/", "/v1/chat/completions/"]
)
async def test_azures_spellings_are_taken_and_given_back_as_sent(house: House, endpoint: str) -> None:
    batch = await create(house, endpoint=endpoint, form=Form.AZURE)
    assert (batch.endpoint, batch.form) == (endpoint, Form.AZURE)
    assert (batch.expires_at, batch.deadline_at) == (START + 86_400, None)


async def test_azures_batches_expire_where_the_server_says_so() -> None:
    house = await open_house(Rules(batches=BatchRules(azure_expires=True)))
    assert (await create(house, form=Form.AZURE)).deadline_at == START + 86_400


@pytest.mark.parametrize("metadata", [None, {}, {"k" * 64: "v" * 512}, {f"k{n}": "" for n in range(16)}])
async def test_metadata_is_kept(house: House, metadata: dict[str, str] | None) -> None:
    assert (await create(house, metadata=metadata)).metadata == metadata


@pytest.mark.parametrize(
    ("metadata", "param", "reason", "text"),
    [
        ({"run": 42}, "metadata.run", "invalid_type", "expected a string, but got an integer"),
        ({"run": True}, "metadata.run", "invalid_type", "got a boolean"),
        ({"run": 4.2}, "metadata.run", "invalid_type", "got a decimal"),
        ({"run": None}, "metadata.run", "invalid_type", "got null"),
        ({"run": ["a"]}, "metadata.run", "invalid_type", "got an array"),
        ({"run": {}}, "metadata.run", "invalid_type", "got an object"),
        ({f"k{n}": "" for n in range(17)}, "metadata", "object_above_max_properties", "16"),
        ({"k" * 65: ""}, "metadata", "string_above_max_length", "64"),
        ({"k": "v" * 513}, "metadata.k", "string_above_max_length", "512"),
    ],
)
async def test_metadata_that_will_not_do_is_refused(
    house: House, metadata: dict[str, object], param: str, reason: str, text: str
) -> None:
    told = await refused(house, metadata=metadata)
    assert (told.param, told.reason) == (param, reason)
    assert text in told.message


@pytest.mark.parametrize(
    ("given", "param", "reason"),
    [
        (ExpiresAfter(3_599), "output_expires_after.seconds", "integer_below_min_value"),
        (ExpiresAfter(2_592_001), "output_expires_after.seconds", "integer_above_max_value"),
        (ExpiresAfter(3_600, "now"), "output_expires_after.anchor", "invalid_value"),
    ],
)
async def test_an_expiry_out_of_bounds_is_refused(house: House, given: ExpiresAfter, param: str, reason: str) -> None:
    told = await refused(house, output_expires_after=given)
    assert (told.param, told.reason) == (param, reason)


@pytest.mark.parametrize(
    ("purpose", "content"), [("assistants", A_LINE), ("user_data", b"%PDF-1.7\n"), ("user_data", b"")]
)
async def test_an_input_of_another_purpose_is_refused_at_once(house: House, purpose: str, content: bytes) -> None:
    file = await house.a_file(content, purpose=purpose)
    told = await refused(house, input_file_id=file.id)
    assert (told.param, told.reason) == ("input_file_id", "invalid_value")


@pytest.mark.parametrize(
    "content", [A_LINE, b"\n \n" + A_LINE, A_LINE.strip(), b'{"a": "' + b"x" * (3 << 20) + b'"}\n']
)
async def test_what_came_without_a_purpose_may_be_an_input_where_it_looks_like_one(
    house: House, content: bytes
) -> None:
    file = await house.a_file(content, purpose="user_data")
    assert (await create(house, input_file_id=file.id)).input_blob == file.blob


async def test_a_batch_without_its_input_is_created_and_left_to_fail(house: House) -> None:
    deleted = await house.a_file()
    await house.files.delete(US, deleted.id)
    for id in ("file-no", deleted.id):
        batch = await create(house, input_file_id=id)
        assert (batch.state, batch.input_blob, batch.input_file_id) == (BatchState.VALIDATING, None, id)


async def test_a_strict_server_refuses_a_batch_without_its_input() -> None:
    house = await open_house(Rules(batches=BatchRules(refuse_missing_input=True)))
    told = await refused(house)
    assert (told.param, told.reason) == ("file_id", "invalid_request")
    assert "cannot find file" in told.message.lower()


async def test_the_input_stays_readable_until_the_batch_ends(house: House) -> None:
    file = await house.a_file()
    batch = await create(house, input_file_id=file.id)
    await house.files.delete(US, file.id)
    await house.sweep.run_once()
    assert await house.blobs.size(file.blob) == file.bytes
    await bring(house, batch, BatchState.FAILED)
    assert await house.sweep.run_once() == 1
    with pytest.raises(NotFound):
        await house.blobs.size(file.blob)


async def test_unended_batches_beyond_the_quota_are_refused() -> None:
    house = await open_house(Rules(quotas={OURS: Quota(batches=2)}))
    done = await asyncio.gather(*(create(house) for _ in range(4)), return_exceptions=True)
    assert [isinstance(result, QuotaExceeded) for result in done] == [False, False, True, True]
    first = done[0]
    assert isinstance(first, Batch)
    await bring(house, first, BatchState.FAILED)
    await create(house)


async def test_a_batch_under_one_key_is_created_once(house: House) -> None:
    first, *rest = await asyncio.gather(*(house.batches.create(US, WANTED, idempotency_key="once") for _ in range(4)))
    assert all(batch == first for batch in rest)
    house.clock.time += 1_000
    assert await house.batches.create(US, WANTED, idempotency_key="once") == first
    with pytest.raises(Conflict) as told:
        await house.batches.create(US, changed(WANTED, metadata={"a": "b"}), idempotency_key="once")
    assert told.value.remedy
    assert (await house.batches.create(US, WANTED, idempotency_key="twice")).id != first.id
    assert len((await house.batches.list(US)).rows) == 2


async def test_without_a_key_every_create_is_a_new_batch(house: House) -> None:
    assert (await create(house)).id != (await create(house)).id


@pytest.mark.parametrize("state", BatchState)
async def test_a_cancel_is_answered_as_the_state_has_it(house: House, state: BatchState) -> None:
    batch = await bring(house, await create(house), state)
    events = len(await house.store.events.after(0, 99))
    house.clock.time += 50
    if state in (BatchState.CANCELLING, BatchState.CANCELLED):
        assert await house.batches.cancel(US, batch.id) == batch
        assert len(await house.store.events.after(0, 99)) == events
    elif state in TERMINAL:
        with pytest.raises(Conflict) as told:
            await house.batches.cancel(US, batch.id)
        assert told.value.message == f"Cannot cancel a batch with status '{state}'."
        assert (told.value.param, told.value.reason) == (None, None)
        assert await house.batches.get(US, batch.id) == batch
    else:
        cancelled = await house.batches.cancel(US, batch.id)
        assert (cancelled.state, cancelled.cancelling_at) == (BatchState.CANCELLING, START + 50)
        assert await house.batches.get(US, batch.id) == cancelled
        assert [event.kind for _, event in await house.store.events.after(0, 99)][events:] == ["batch.cancelling"]


async def test_cancelling_at_once_is_cancelling_once(house: House) -> None:
    batch = await create(house)
    done = await asyncio.gather(*(house.batches.cancel(US, batch.id) for _ in range(5)))
    assert all(result == done[0] for result in done)
    assert len(await house.store.events.after(0, 99)) == 2


async def test_a_cancel_that_meets_a_move_still_cancels(house: House) -> None:
    """The pipeline moves the batch on between the look and the write."""
    batch = await create(house)

    async def walk() -> None:
        await bring(house, batch, BatchState.FINALIZING)

    cancelled, _ = await asyncio.gather(house.batches.cancel(US, batch.id), walk(), return_exceptions=True)
    assert isinstance(cancelled, Batch)
    assert (await house.batches.get(US, batch.id)).state is BatchState.CANCELLING


async def test_an_unknown_batch_is_not_found(house: House) -> None:
    for call in (house.batches.get, house.batches.cancel):
        with pytest.raises(NotFound) as told:
            await call(US, "batch_zz")
        assert told.value.message == "No batch found with id 'batch_zz'."
        assert (told.value.param, told.value.reason) == (None, None)


async def test_lists_are_newest_first_and_paged(house: House) -> None:
    ids = [(await create(house)).id for _ in range(25)]
    page = await house.batches.list(US)
    assert ([batch.id for batch in page.rows], page.more) == (ids[:4:-1], True)
    rest = await house.batches.list(US, after=page.rows[-1].id, limit=1_000)
    assert ([batch.id for batch in rest.rows], rest.more) == (ids[4::-1], False)
    oldest = await house.batches.list(US, limit=1, direction=Direction.ASC)
    assert [batch.id for batch in oldest.rows] == ids[:1]
    empty = await house.batches.list(US, after=ids[0])
    assert (list(empty.rows), empty.more) == ([], False)


async def test_a_page_has_at_most_a_hundred(house: House) -> None:
    for _ in range(101):
        await create(house)
    page = await house.batches.list(US, limit=10_000)
    assert (len(page.rows), page.more) == (100, True)


@pytest.mark.parametrize(("given", "param"), [({"limit": 0}, "limit"), ({"after": "batch_no"}, "after")])
async def test_a_wrong_list_is_refused(house: House, given: dict[str, object], param: str) -> None:
    with pytest.raises(Invalid) as told:
        await house.batches.list(US, **given)  # pyright: ignore[reportArgumentType]
    assert told.value.param == param


async def test_a_list_can_be_filtered(house: House) -> None:
    await create(house)
    failed = await bring(house, await create(house), BatchState.FAILED)
    page = await house.batches.list(US, where=BatchFilter(states=frozenset({BatchState.FAILED})))
    assert (list(page.rows), page.more) == ([failed], False)


@pytest.mark.parametrize(
    ("role", "reads", "runs"),
    [
        (Role.VIEWER, True, False),
        (Role.DATASETS_EDITOR, False, False),
        (Role.EDITOR, True, True),
        (Role.ADMIN, True, True),
    ],
)
async def test_roles_may_see_or_run_batches(house: House, role: Role, reads: bool, runs: bool) -> None:
    batch = await create(house)
    caller = Caller(OURS, role)
    read = [lambda: house.batches.get(caller, batch.id), lambda: house.batches.list(caller)]
    run = [lambda: house.batches.create(caller, WANTED), lambda: house.batches.cancel(caller, batch.id)]
    for calls, may in ((read, reads), (run, runs)):
        for call in calls:
            if may:
                await call()
            else:
                with pytest.raises(Forbidden):
                    await call()


async def test_a_batch_remembers_the_key_that_made_it(house: House) -> None:
    key = a_key(id=KeyId("key_ci"))
    await house.store.keys.add(key)
    assert (await house.batches.create(Caller(OURS, Role.EDITOR, key.id), WANTED)).key_id == key.id
    assert (await create(house)).key_id is None


def test_every_state_has_a_path() -> None:
    assert PATHS.keys() == set(BatchState)


async def test_what_is_enqueued_says_nothing_of_other_projects() -> None:
    quota = Quota(enqueued_tokens=100)
    house = await open_house(Rules(quotas={OURS: quota, THEIRS: quota}))
    file, theirs = await house.a_file(), await house.a_file(caller=THEM)
    batch = await house.batches.create(
        THEM, CreateBatch(input_file_id=theirs.id, endpoint="/v1/embeddings", completion_window="24h")
    )
    running = changed(batch.move(BatchState.IN_PROGRESS, START), enqueued_tokens=40)
    assert await house.store.batches.move(batch.state, running, an_event(running))
    mine = await house.batches.enqueued(US, file.id)
    assert mine is not None and (mine.tokens, mine.most) == ((file.bytes + 3) // 4, 100)
    for unknown in (theirs.id, "file-none"):
        found = await house.batches.enqueued(US, unknown)
        assert found is not None and found.tokens == 0
    others = await house.batches.enqueued(THEM, theirs.id)
    assert others is not None and others.tokens == 40 + (theirs.bytes + 3) // 4
