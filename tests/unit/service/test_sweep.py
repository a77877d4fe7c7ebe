"""Room comes back, and a crash anywhere leaves a file whole or not at all."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from batchyard.domain.access import Quota
from batchyard.domain.errors import Unavailable
from batchyard.domain.file import ExpiresAfter
from batchyard.domain.webhook import EndpointFields
from batchyard.service.sweep import KEPT_SECONDS
from batchyard.service.uploads import CreateUpload
from tests.simulation.disk import Faults, PowerCut
from tests.support.house import A_LINE, House, a_disk, open_house
from tests.support.tenants import START, US, FakeClock, a_batch, an_event, pieces


async def test_what_is_gone_gives_its_room_back() -> None:
    house = await open_house()
    deleted, kept = await house.a_file(), await house.a_file()
    await house.files.upload(US, "a", "batch", pieces(A_LINE), ExpiresAfter(3_600))
    upload = await house.uploads.create(
        US, CreateUpload(filename="a", purpose="batch", bytes=9, mime_type="application/jsonl")
    )
    await house.uploads.add_part(US, upload.id, pieces(b"x"))
    await house.files.delete(US, deleted.id)
    assert await house.sweep.run_once() == 1
    assert await house.sweep.run_once() == 0
    house.clock.time += 3_600
    assert await house.sweep.run_once() == 2
    assert list(await house.blobs.keys("files")) == [kept.blob]
    assert list(await house.blobs.keys("parts")) == []
    assert await house.bytes_of(kept.id) == A_LINE


async def test_old_news_is_forgotten_and_what_is_still_to_be_delivered_is_not() -> None:
    house = await open_house()
    await house.webhooks.create(US, EndpointFields(name="a", url="https://a.example/", event_kinds=("batch.failed",)))
    batch = a_batch()
    ended = batch.move(batch.state.FAILED, START)
    await house.store.batches.add(batch, an_event(batch), Quota())
    await house.store.batches.move(batch.state, ended, an_event(ended))
    house.clock.time += KEPT_SECONDS
    await house.sweep.run_once()
    assert len(await house.store.events.after(0, 9)) == 2
    house.clock.time += 1
    await house.sweep.run_once()
    assert len(await house.store.events.after(0, 9)) == 0
    assert len(await house.store.webhooks.due(house.clock.at(), 9)) == 1


async def test_more_than_one_round_is_made_where_much_is_gone() -> None:
    house = await open_house()
    for _ in range(205):
        await house.files.delete(US, (await house.a_file()).id)
    assert await house.sweep.run_once() == 205
    assert await house.blobs_kept() == 0


async def test_bytes_without_a_name_are_removed_and_others_are_not() -> None:
    house = await open_house()
    kept, deleted = await house.a_file(), await house.a_file()
    await house.files.delete(US, deleted.id)
    for key in ("files/file-nobody", "parts/part_nobody"):
        writer = await house.blobs.create(key)
        await writer.commit()
    assert await house.sweep.orphans() == 2
    assert list(await house.blobs.keys("files")) == sorted([kept.blob, deleted.blob])


async def upload_whole(house: House) -> None:
    await house.a_file(A_LINE * 12_000)


async def upload_in_parts(house: House) -> None:
    upload = await house.uploads.create(
        US, CreateUpload(filename="a", purpose="batch", bytes=2 * len(A_LINE), mime_type="application/jsonl")
    )
    parts = [(await house.uploads.add_part(US, upload.id, pieces(A_LINE, 50))).id for _ in range(2)]
    await house.uploads.complete(US, upload.id, parts)


async def delete(house: House) -> None:
    file = await house.a_file()
    await house.files.delete(US, file.id)
    await house.sweep.run_once()


@pytest.mark.parametrize("act", [upload_whole, upload_in_parts, delete])
async def test_a_power_cut_anywhere_leaves_whole_files_and_no_rubbish(
    act: Callable[[House], Awaitable[None]], tmp_path: Path
) -> None:
    cut = 0
    while True:
        cut += 1
        disk, path = a_disk(seed=cut), str(tmp_path / f"{cut}.db")
        house = await open_house(disk=disk, path=path)
        disk.faults = Faults(cut_at_call=disk.calls + cut)
        try:
            await act(house)
        except PowerCut:
            finished = False
        except Unavailable:
            finished = False  # raised while the cut was on its way up
        else:
            finished = True
        await house.store.close()
        await check(await open_house(disk=disk.cut(Faults()), path=path, clock=FakeClock()))
        if finished:
            break
    assert cut > 5


async def check(house: House) -> None:
    await house.sweep.orphans()
    await house.sweep.run_once()
    files = (await house.files.list(US)).rows
    for file in files:
        assert len(await house.bytes_of(file.id)) == file.bytes
    assert list(await house.blobs.keys("files")) == sorted(file.blob for file in files)
    house.clock.time += 3_600
    await house.sweep.run_once()
    assert list(await house.blobs.keys("parts")) == []
    await house.store.close()
