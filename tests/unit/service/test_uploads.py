"""Uploads in parts, as a caller sends them: in any order, twice, or not to the end."""

import asyncio
import hashlib
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.domain.access import Caller, Quota, Role
from batchyard.domain.errors import Conflict, Forbidden, Invalid, NotFound, QuotaExceeded, TooLarge
from batchyard.domain.file import ExpiresAfter
from batchyard.domain.upload import Part, Upload, UploadState
from batchyard.service.rules import UploadRules
from batchyard.service.uploads import CreateUpload
from tests.support.house import A_LINE, House, Rules, open_house
from tests.support.tenants import OURS, START, US, changed, pieces

WANTED = CreateUpload(filename="in.jsonl", purpose="user_data", bytes=9, mime_type="application/jsonl")
MISSING_FIELDS = ("filename", "purpose", "bytes", "mime_type")


@pytest.fixture
async def house() -> House:
    return await open_house()


async def begin(house: House, size: int, **changes: object) -> Upload:
    return await house.uploads.create(US, changed(WANTED, bytes=size, **changes))


async def send(house: House, upload: Upload, *parts: bytes) -> list[Part]:
    return [await house.uploads.add_part(US, upload.id, pieces(part)) for part in parts]


async def refused(house: House, upload: Upload, part_ids: Sequence[str], md5: str | None = None) -> Invalid:
    with pytest.raises(Invalid) as told:
        await house.uploads.complete(US, upload.id, part_ids, md5)
    return told.value


async def test_an_upload_is_what_was_asked_for(house: House) -> None:
    upload = await house.uploads.create(US, WANTED)
    assert upload.id.startswith("upload_")
    assert (upload.filename, upload.purpose, upload.bytes, upload.state) == ("in.jsonl", "user_data", 9, "pending")
    assert (upload.created_at, upload.expires_at, upload.file_id) == (START, START + 3_600, None)


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_parts_make_a_file_in_the_order_named(house: House, order: tuple[int, ...]) -> None:
    data = [b"first ", b"second ", b"third"]
    upload = await begin(house, 18)
    parts = await send(house, upload, *data)
    completed, file = await house.uploads.complete(US, upload.id, [parts[place].id for place in order])
    expected = b"".join(data[place] for place in order)
    assert file is not None
    assert await house.bytes_of(file.id) == expected
    assert (file.bytes, file.sha256) == (18, hashlib.sha256(expected).hexdigest())
    assert (completed.state, completed.file_id) == (UploadState.COMPLETED, file.id)
    assert await house.files.get(US, file.id) == file


async def test_parts_may_come_side_by_side(house: House) -> None:
    upload = await begin(house, 30)
    parts = await asyncio.gather(*(house.uploads.add_part(US, upload.id, pieces(b"%d" % n * 3)) for n in range(10)))
    _, file = await house.uploads.complete(US, upload.id, [part.id for part in parts])
    assert file is not None
    assert await house.bytes_of(file.id) == b"000111222333444555666777888999"


async def test_an_orphan_part_is_dropped(house: House) -> None:
    upload = await begin(house, 5)
    _, wanted, _ = await send(house, upload, b"lost!", b"given", b"lost?")
    _, file = await house.uploads.complete(US, upload.id, [wanted.id])
    assert file is not None
    assert await house.bytes_of(file.id) == b"given"
    await house.sweep.run_once()
    assert list(await house.blobs.keys("parts")) == []
    assert await house.blobs_kept() == 1


async def test_an_empty_file_has_no_parts(house: House) -> None:
    upload = await begin(house, 0)
    _, file = await house.uploads.complete(US, upload.id, [])
    assert file is not None
    assert file.bytes == 0


async def test_an_empty_batch_input_is_refused_here_too(house: House) -> None:
    upload = await begin(house, 0, purpose="batch")
    assert "Invalid file format" in (await refused(house, upload, [])).message
    assert await house.blobs_kept() == 0


async def test_a_batch_input_is_checked_and_expires(house: House) -> None:
    upload = await begin(house, len(A_LINE), purpose="batch", expires_after=ExpiresAfter(7_200))
    parts = await send(house, upload, A_LINE[:5], A_LINE[5:])
    house.clock.time += 100
    _, file = await house.uploads.complete(US, upload.id, [part.id for part in parts])
    assert file is not None
    assert (file.created_at, file.expires_at) == (START + 100, START + 7_300)
    batch = await house.a_file()
    assert batch.expires_at == START + 100 + 2_592_000


async def test_completing_again_returns_the_same(house: House) -> None:
    upload = await begin(house, 10)
    parts = [part.id for part in await send(house, upload, b"first", b"secnd")]
    first = await house.uploads.complete(US, upload.id, parts)
    await house.sweep.run_once()
    assert await house.uploads.complete(US, upload.id, parts) == first
    assert "completed" in (await refused(house, upload, parts[::-1])).message
    assert len((await house.files.list(US)).rows) == 1


async def test_completing_at_once_makes_one_file(house: House) -> None:
    upload = await begin(house, 5)
    (part,) = await send(house, upload, b"given")
    done = await asyncio.gather(*(house.uploads.complete(US, upload.id, [part.id]) for _ in range(5)))
    assert all(result == done[0] for result in done)
    assert len((await house.files.list(US)).rows) == 1


async def test_a_completed_upload_outlives_its_file(house: House) -> None:
    upload = await begin(house, 0)
    _, file = await house.uploads.complete(US, upload.id, [])
    assert file is not None
    await house.files.delete(US, file.id)
    again, gone = await house.uploads.complete(US, upload.id, [])
    assert (again.state, again.file_id, gone) == (UploadState.COMPLETED, file.id, None)


async def test_bytes_that_do_not_add_up_are_refused_and_can_be_mended(house: House) -> None:
    upload = await begin(house, 10)
    (first,) = await send(house, upload, b"12345")
    told = await refused(house, upload, [first.id])
    assert told.param == "bytes"
    (second,) = await send(house, upload, b"67890")
    _, file = await house.uploads.complete(US, upload.id, [first.id, second.id])
    assert file is not None
    assert await house.bytes_of(file.id) == b"1234567890"


async def test_an_md5_is_held_against_the_bytes(house: House) -> None:
    upload = await begin(house, 5)
    (part,) = await send(house, upload, b"given")
    right = hashlib.md5(b"given").hexdigest()
    for wrong in (hashlib.md5(b"other").hexdigest(), "", "x" * 10_000):
        told = await refused(house, upload, [part.id], wrong)
        assert told.param == "md5"
        assert len(str(told)) < 500
    assert len(await house.blobs.keys("files")) == 0
    _, file = await house.uploads.complete(US, upload.id, [part.id], right.upper())
    assert file is not None


async def test_unknown_and_repeated_parts_are_refused(house: House) -> None:
    upload, other = await begin(house, 5), await begin(house, 5)
    (part,) = await send(house, upload, b"given")
    (foreign,) = await send(house, other, b"given")
    for ids in ([foreign.id], ["part_no"], [part.id, part.id]):
        assert (await refused(house, upload, ids)).param == "part_ids"
    with pytest.raises(Invalid) as told:
        await house.uploads.complete(US, upload.id, None)
    assert (told.value.param, told.value.reason) == ("part_ids", "missing_required_parameter")


@pytest.mark.parametrize("name", MISSING_FIELDS)
async def test_what_an_upload_needs_is_named(house: House, name: str) -> None:
    with pytest.raises(Invalid) as told:
        await house.uploads.create(US, changed(WANTED, **{name: None}))
    assert (told.value.param, told.value.reason) == (name, "missing_required_parameter")


async def test_sizes_are_bounded() -> None:
    rules = Rules(uploads=UploadRules(part_bytes=10, max_parts=2), quotas={OURS: Quota(file_bytes=30)})
    house = await open_house(rules)
    with pytest.raises(Invalid, match="bytes"):
        await begin(house, -1)
    with pytest.raises(TooLarge) as told:
        await begin(house, 31)
    assert told.value.param == "bytes"
    upload = await begin(house, 30)
    with pytest.raises(TooLarge) as told:
        await send(house, upload, b"12345678901")
    assert told.value.param == "data"
    await send(house, upload, b"1234567890", b"1")
    with pytest.raises(TooLarge):
        await send(house, upload, b"1")
    assert len(await house.blobs.keys("parts")) == 2


async def test_parts_that_find_no_room_leave_nothing() -> None:
    house = await open_house(Rules(quotas={OURS: Quota(total_bytes=12)}))
    upload = await begin(house, 10)
    (part,) = await send(house, upload, b"1234567890")
    with pytest.raises(QuotaExceeded):
        await send(house, upload, b"123")
    assert len(await house.blobs.keys("parts")) == 1
    _, file = await house.uploads.complete(US, upload.id, [part.id])
    assert file is not None


async def test_a_file_beyond_the_quota_leaves_the_upload_pending() -> None:
    house = await open_house(Rules(quotas={OURS: Quota(files=1)}))
    existing = await house.a_file()
    upload = await begin(house, 5)
    (part,) = await send(house, upload, b"given")
    with pytest.raises(QuotaExceeded):
        await house.uploads.complete(US, upload.id, [part.id])
    await house.files.delete(US, existing.id)
    await house.sweep.run_once()
    assert len(await house.blobs.keys("files")) == 0
    _, file = await house.uploads.complete(US, upload.id, [part.id])
    assert file is not None


async def test_a_cancelled_upload_takes_nothing_more(house: House) -> None:
    upload = await begin(house, 5)
    (part,) = await send(house, upload, b"given")
    cancelled = await house.uploads.cancel(US, upload.id)
    assert cancelled.state is UploadState.CANCELLED
    assert await house.uploads.cancel(US, upload.id) == cancelled
    with pytest.raises(Invalid, match="cancelled"):
        await send(house, upload, b"more")
    assert "cancelled" in (await refused(house, upload, [part.id])).message
    await house.sweep.run_once()
    assert await house.blobs_kept() == 0


async def test_a_completed_upload_is_not_cancelled(house: House) -> None:
    upload = await begin(house, 0)
    await house.uploads.complete(US, upload.id, [])
    with pytest.raises(Invalid, match="completed"):
        await house.uploads.cancel(US, upload.id)


async def test_an_upload_expires_in_an_hour(house: House) -> None:
    upload = await begin(house, 5)
    (part,) = await send(house, upload, b"given")
    house.clock.time += 3_600
    assert "expired" in (await refused(house, upload, [part.id])).message
    with pytest.raises(Invalid, match="expired"):
        await send(house, upload, b"more")
    with pytest.raises(Invalid, match="expired"):
        await house.uploads.cancel(US, upload.id)
    await house.sweep.run_once()
    assert await house.blobs_kept() == 0


async def test_a_part_that_comes_too_late_leaves_nothing(house: House) -> None:
    upload = await begin(house, 5)

    async def slow() -> object:
        async for piece in pieces(b"given", 1):
            yield piece
            await house.uploads.cancel(US, upload.id)

    with pytest.raises(Invalid, match="cancelled"):
        await house.uploads.add_part(US, upload.id, slow())  # pyright: ignore[reportArgumentType]
    assert await house.blobs_kept() == 0


async def test_an_upload_cancelled_while_it_is_completed_makes_no_file(house: House) -> None:
    upload = await begin(house, 5)
    (part,) = await send(house, upload, b"given")
    done = await asyncio.gather(
        house.uploads.complete(US, upload.id, [part.id]), house.uploads.cancel(US, upload.id), return_exceptions=True
    )
    files = (await house.files.list(US)).rows
    assert [isinstance(result, Invalid) for result in done].count(True) == 1
    assert len(files) == (0 if isinstance(done[0], Invalid) else 1)
    await house.sweep.run_once()
    assert await house.blobs_kept() == len(files)


async def test_an_upload_under_one_key_is_created_once(house: House) -> None:
    first = await house.uploads.create(US, WANTED, idempotency_key="once")
    assert await house.uploads.create(US, WANTED, idempotency_key="once") == first
    with pytest.raises(Conflict):
        await house.uploads.create(US, changed(WANTED, bytes=1), idempotency_key="once")


async def test_an_unknown_upload_is_not_found(house: House) -> None:
    calls = [
        house.uploads.add_part(US, "upload_no", pieces(b"x")),
        house.uploads.complete(US, "upload_no", []),
        house.uploads.cancel(US, "upload_no"),
    ]
    for call in calls:
        with pytest.raises(NotFound, match="No such Upload object: upload_no"):
            await call


@pytest.mark.parametrize("role", Role)
async def test_only_those_who_change_files_upload(house: House, role: Role) -> None:
    caller = Caller(OURS, role)
    if role is Role.VIEWER:
        for call in (
            house.uploads.create(caller, WANTED),
            house.uploads.add_part(caller, "x", pieces(b"x")),
            house.uploads.complete(caller, "x", []),
            house.uploads.cancel(caller, "x"),
        ):
            with pytest.raises(Forbidden):
                await call
    else:
        assert (await house.uploads.create(caller, WANTED)).state is UploadState.PENDING


@given(st.lists(st.binary(max_size=30), max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
async def test_any_parts_in_any_order_are_the_bytes_that_they_are(data: list[bytes], random: object) -> None:
    house = await open_house()
    order = list(range(len(data)))
    random.shuffle(order)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    expected = b"".join(data[place] for place in order)
    upload = await begin(house, len(expected))
    parts = await send(house, upload, *data)
    md5 = hashlib.md5(expected).hexdigest()
    _, file = await house.uploads.complete(US, upload.id, [parts[place].id for place in order], md5)
    assert file is not None
    assert await house.bytes_of(file.id) == expected
