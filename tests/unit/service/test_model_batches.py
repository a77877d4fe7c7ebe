"""Batches whose caller names the model, as a caller has them."""

import pytest

from batchyard.domain.access import Caller, Quota, Role
from batchyard.domain.batch import BatchState, Form
from batchyard.domain.errors import BadLines, Conflict, Invalid, NotFound, QuotaExceeded
from batchyard.domain.file import FileId
from batchyard.service.batches import CreateBatch
from batchyard.service.model_batches import CHECKED_BYTES, CreateModelBatch
from tests.support.house import A_LINE, House, Rules, open_house
from tests.support.tenants import OURS, US, an_event, changed

ASKED = CreateModelBatch(model="m", endpoint="/v1/chat/completions", form=Form.GEMINI, lines=A_LINE * 3)


@pytest.fixture
async def house() -> House:
    return await open_house()


async def test_lines_that_come_with_the_call_are_kept_where_no_list_shows_them(house: House) -> None:
    batch = await house.model_batches.create(US, changed(ASKED, display_name="n", priority=2))
    assert (batch.asked_model, batch.display_name, batch.priority, batch.inline) == ("m", "n", 2, True)
    assert (batch.counts.total, batch.completion_window, batch.expires_at) == (3, "48h", batch.created_at + 172_800)
    assert batch.input_blob is not None and await house.bytes_of(batch.input_file_id) == A_LINE * 3
    assert not (await house.files.list(US)).rows


async def test_the_input_may_be_a_file_that_is_there(house: House) -> None:
    file = await house.a_file(A_LINE * 2)
    batch = await house.model_batches.create(US, changed(ASKED, lines=None, input_file_id=file.id))
    assert (batch.input_file_id, batch.input_blob, batch.inline) == (file.id, file.blob, False)
    for id in ("file-none", (await house.model_batches.create(US, ASKED)).input_file_id):
        with pytest.raises(NotFound):
            await house.model_batches.create(US, changed(ASKED, lines=None, input_file_id=FileId(id)))


async def test_bad_lines_are_told_before_anything_is_kept(house: House) -> None:
    for lines, error in ((A_LINE + b"bad\n" * 2, BadLines), (b"", Invalid)):
        with pytest.raises(error):
            await house.model_batches.create(US, changed(ASKED, lines=lines))
    assert not (await house.model_batches.list(US, Form.GEMINI)).rows and not await house.blobs_kept()


async def test_a_large_file_is_left_to_the_pipeline(house: House) -> None:
    file = await house.a_file(A_LINE + b"bad " * (CHECKED_BYTES // 4))
    batch = await house.model_batches.create(US, changed(ASKED, lines=None, input_file_id=file.id))
    assert (batch.state, batch.counts.total) == (BatchState.VALIDATING, 0)


async def test_a_batch_that_finds_no_room_leaves_nothing() -> None:
    house = await open_house(Rules(quotas={OURS: Quota(batches=1)}))
    kept = await house.model_batches.create(US, ASKED)
    with pytest.raises(QuotaExceeded):
        await house.model_batches.create(US, ASKED)
    await house.sweep.run_once()
    assert await house.blobs_kept() == 1 and await house.bytes_of(kept.input_file_id)
    await house.model_batches.delete(US, kept.id, Form.GEMINI)
    await house.model_batches.create(US, ASKED)


@pytest.mark.parametrize(
    ("role", "asked", "given"), [(Role.ADMIN, 1 << 60, 100), (Role.EDITOR, 99, 50), (Role.ADMIN, -(1 << 60), -100)]
)
async def test_a_priority_comes_as_near_as_it_may(house: House, role: Role, asked: int, given: int) -> None:
    caller = Caller(OURS, role)
    batch = await house.model_batches.create(caller, changed(ASKED, priority=asked))
    assert batch.priority == given
    described = await house.model_batches.describe(caller, batch.id, Form.GEMINI, display_name="x", priority=asked)
    assert (described.priority, described.display_name) == (given, "x")


async def test_batches_of_other_forms_are_unknown_here(house: House) -> None:
    file = await house.a_file()
    other = await house.batches.create(
        US, CreateBatch(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    )
    ours = await house.model_batches.create(US, ASKED)
    for call in (house.model_batches.get, house.model_batches.cancel, house.model_batches.delete):
        with pytest.raises(NotFound):
            await call(US, other.id, Form.GEMINI)
    assert [batch.id for batch in (await house.model_batches.list(US, Form.GEMINI)).rows] == [ours.id]
    assert {batch.id for batch in (await house.batches.list(US)).rows} == {ours.id, other.id}


async def test_a_deleted_batch_is_cancelled_and_unknown_with_what_came_inline(house: House) -> None:
    batch = await house.model_batches.create(US, ASKED)
    await house.model_batches.delete(US, batch.id, Form.GEMINI)
    stored = await house.store.batches.get(OURS, batch.id)
    assert stored is not None and stored.state is BatchState.CANCELLING
    with pytest.raises(NotFound):
        await house.model_batches.get(US, batch.id, Form.GEMINI)
    with pytest.raises(NotFound):
        await house.batches.get(US, batch.id)
    with pytest.raises(NotFound):
        await house.files.get(US, batch.input_file_id)
    assert not await house.store.files.dead_blobs(10)  # its walk still reads them


async def test_a_batch_that_has_ended_stays_as_it_is(house: House) -> None:
    batch = await house.model_batches.create(US, ASKED)
    failed = batch.move(BatchState.FAILED, house.clock.at())
    await house.store.batches.move(batch.state, failed, an_event(failed))
    assert await house.model_batches.cancel(US, batch.id, Form.GEMINI) == failed
    with pytest.raises(Conflict):
        await house.model_batches.describe(US, batch.id, Form.GEMINI, display_name="n", priority=None)
    await house.model_batches.delete(US, batch.id, Form.GEMINI)
    assert batch.input_blob in await house.store.files.dead_blobs(10)
