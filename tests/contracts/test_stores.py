"""What every store keeps: see `batchyard.store`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.domain.access import KeyId, ProjectId, Quota
from batchyard.domain.batch import MOVES, Batch, BatchId, BatchState, Counts, Form
from batchyard.domain.errors import Conflict, Invalid, QuotaExceeded, TooLarge
from batchyard.domain.event import Event
from batchyard.domain.file import INLINE, File, FileId
from batchyard.domain.hooks import Hooks
from batchyard.domain.line import LineError
from batchyard.domain.price import Spent, day_of
from batchyard.domain.result import Usage
from batchyard.domain.resumable import Resumable
from batchyard.domain.upload import PartId, UploadId, UploadState
from batchyard.domain.webhook import DeliveryState, EndpointFields, WebhookEndpoint
from batchyard.store import BatchFilter, Cursor, Direction, Once, Retried, Store, TokenRoom
from batchyard.stores import sqlite
from tests.support.tenants import (
    OURS,
    START,
    THEIRS,
    TurnsOffload,
    a_batch,
    a_file,
    a_key,
    a_part,
    a_project,
    a_resumable,
    an_endpoint,
    an_event,
    an_upload,
    changed,
)

LATER = START + 100
ROOM = Quota()


@pytest.fixture(params=["sqlite", "sqlite in memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    path = ":memory:" if "memory" in request.param else str(tmp_path / "facts.db")
    store = await sqlite.open(sqlite.Config(path=path), TurnsOffload())
    await store.projects.add(a_project(OURS))
    await store.projects.add(a_project(THEIRS))
    yield store
    await store.close()


async def add_batch(store: Store, **changes: object) -> Batch:
    batch = a_batch(**changes)
    return await store.batches.add(batch, an_event(batch), ROOM)


async def everything(store: Store, project: ProjectId) -> list[File]:
    page = await store.files.list(project, Cursor(1_000), START)
    assert page is not None
    return list(page.rows)


# Projects and keys


async def test_projects_are_listed_in_the_order_of_their_making(store: Store) -> None:
    assert [project.id for project in await store.projects.list()] == [OURS, THEIRS]
    assert await store.projects.get(OURS) == a_project(OURS)
    assert await store.projects.get(ProjectId("proj_no")) is None


async def test_a_project_has_a_name_of_its_own(store: Store) -> None:
    with pytest.raises(Conflict):
        await store.projects.add(a_project(ProjectId("proj_third"), name=OURS))


async def test_a_key_is_found_by_its_prefix_and_by_its_project(store: Store) -> None:
    key = a_key(expires_at=LATER)
    await store.keys.add(key)
    assert await store.keys.by_prefix(key.prefix) == key
    assert await store.keys.get(OURS, key.id) == key
    assert await store.keys.get(THEIRS, key.id) is None
    assert await store.keys.by_prefix("by-nobody") is None
    assert list(await store.keys.list(THEIRS)) == []


async def test_a_key_is_revoked_once_and_by_its_own_project(store: Store) -> None:
    key = a_key()
    await store.keys.add(key)
    assert await store.keys.revoke(THEIRS, key.id, LATER) is None
    assert await store.keys.revoke(OURS, key.id, LATER) == changed(key, revoked_at=LATER)
    assert await store.keys.revoke(OURS, key.id, LATER + 9) == changed(key, revoked_at=LATER)


async def test_a_rotated_key_ends_in_time_and_has_a_successor(store: Store) -> None:
    old, ending, new = a_key(), a_key(expires_at=START + 5), a_key()
    await store.keys.add(old)
    await store.keys.add(ending)
    assert await store.keys.rotate(old.id, new, LATER)
    assert await store.keys.rotate(ending.id, a_key(), LATER)
    assert await store.keys.by_prefix(old.prefix) == changed(old, expires_at=LATER)
    assert await store.keys.by_prefix(ending.prefix) == ending
    assert await store.keys.by_prefix(new.prefix) == new


async def test_an_unknown_or_revoked_key_is_not_rotated(store: Store) -> None:
    revoked, theirs = a_key(revoked_at=START), a_key(project=THEIRS)
    await store.keys.add(revoked)
    await store.keys.add(theirs)
    for old in (revoked.id, theirs.id, KeyId("key_no")):
        assert not await store.keys.rotate(old, a_key(), LATER)
    assert len(await store.keys.list(OURS)) == 1


async def test_the_last_use_of_a_key_never_goes_back(store: Store) -> None:
    key = a_key()
    await store.keys.add(key)
    for at in (LATER, START):
        await store.keys.touch(key.id, at)
        assert await store.keys.get(OURS, key.id) == changed(key, last_used_at=LATER)


async def test_a_server_is_founded_once(store: Store) -> None:
    home, key = a_project(ProjectId("proj_home")), a_key(project="proj_home")
    founded = await asyncio.gather(store.keys.found(home, key), store.keys.found(home, a_key(project="proj_home")))
    assert founded == [True, False]
    assert list(await store.keys.list(home.id)) == [key]


# Files


async def test_a_file_is_read_back_as_it_was_added(store: Store) -> None:
    file = a_file(filename="näme\u2028 \x00.jsonl", expires_at=LATER, bytes=2**62)
    assert await store.files.add(file, None) == file
    assert await store.files.get(OURS, file.id, START) == file


async def test_a_file_is_unknown_to_other_projects(store: Store) -> None:
    file = await store.files.add(a_file(), ROOM)
    assert await store.files.get(THEIRS, file.id, START) is None
    assert await store.files.delete(THEIRS, file.id, START) is None
    assert await store.files.list(THEIRS, Cursor(10, file.id), START) is None
    assert await everything(store, THEIRS) == []
    assert await store.files.get(OURS, file.id, START) == file


async def test_a_file_is_deleted_once(store: Store) -> None:
    file = await store.files.add(a_file(), ROOM)
    assert await store.files.delete(OURS, file.id, LATER) == file
    assert await store.files.delete(OURS, file.id, LATER) is None
    assert await store.files.get(OURS, file.id, LATER) is None
    assert await everything(store, OURS) == []


async def test_an_expired_file_is_gone_at_its_second(store: Store) -> None:
    file = await store.files.add(a_file(expires_at=LATER), ROOM)
    assert await store.files.get(OURS, file.id, LATER - 1) == file
    assert await store.files.get(OURS, file.id, LATER) is None
    assert await store.files.delete(OURS, file.id, LATER) is None
    page = await store.files.list(OURS, Cursor(10), LATER)
    assert page is not None
    assert list(page.rows) == []


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_hold_everything_once_and_in_order(store: Store, direction: Direction, limit: int) -> None:
    times = [5, 3, 3, 3, 9, 0, 9]  # ties, and a clock that went back
    files = [await store.files.add(a_file(created_at=START + time), ROOM) for time in times]
    await store.files.add(a_file(project=THEIRS), ROOM)
    seen, after, more = list[File](), None, True
    while more:
        page = await store.files.list(OURS, Cursor(limit, after, direction), START)
        assert page is not None
        seen, after, more = [*seen, *page.rows], page.rows[-1].id, page.more
    places = sorted(range(len(files)), key=lambda n: (times[n], n), reverse=direction is Direction.DESC)
    assert seen == [files[place] for place in places]


async def test_more_is_said_of_what_this_caller_would_see(store: Store) -> None:
    wanted = await store.files.add(a_file(), ROOM)
    await store.files.add(a_file(purpose="evals"), ROOM)
    await store.files.add(a_file(project=THEIRS), ROOM)
    deleted = await store.files.add(a_file(), ROOM)
    await store.files.delete(OURS, deleted.id, START)
    await store.files.add(a_file(expires_at=START + 1), ROOM)
    page = await store.files.list(OURS, Cursor(1), START + 1, "batch")
    assert page is not None
    assert (list(page.rows), page.more) == ([wanted], False)


async def test_a_deleted_file_still_marks_its_place(store: Store) -> None:
    first, second, third = [await store.files.add(a_file(), ROOM) for _ in range(3)]
    await store.files.delete(OURS, second.id, LATER)
    await store.files.forget_blobs([second.blob])
    for direction, rest in ((Direction.ASC, third), (Direction.DESC, first)):
        page = await store.files.list(OURS, Cursor(5, second.id, direction), LATER)
        assert page is not None
        assert (list(page.rows), page.more) == ([rest], False)


async def test_a_cursor_that_names_nothing_gives_no_page(store: Store) -> None:
    assert await store.files.list(OURS, Cursor(5, "file-no"), START) is None


async def test_files_beyond_the_quota_are_refused_however_many_come_at_once(store: Store) -> None:
    quota = Quota(files=3)
    added = await asyncio.gather(*(store.files.add(a_file(), quota) for _ in range(6)), return_exceptions=True)
    assert [isinstance(result, QuotaExceeded) for result in added] == [False] * 3 + [True] * 3
    assert len(await everything(store, OURS)) == 3


async def test_bytes_beyond_the_quota_are_refused(store: Store) -> None:
    quota = Quota(total_bytes=25)
    await store.files.add(a_file(bytes=20), quota)
    with pytest.raises(QuotaExceeded):
        await store.files.add(a_file(bytes=6), quota)
    with pytest.raises(QuotaExceeded):
        await store.files.require_room(OURS, quota, files=1, size=6, at=START)
    await store.files.require_room(OURS, quota, files=1, size=5, at=START)
    await store.files.add(a_file(bytes=5), quota)
    await store.files.add(a_file(project=THEIRS, bytes=25), quota)


async def test_what_is_gone_takes_no_room(store: Store) -> None:
    quota = Quota(files=1, total_bytes=10)
    deleted = await store.files.add(a_file(), quota)
    await store.files.delete(OURS, deleted.id, START)
    await store.files.add(a_file(expires_at=LATER), quota)
    with pytest.raises(QuotaExceeded):
        await store.files.add(a_file(created_at=LATER - 1), quota)
    await store.files.add(a_file(created_at=LATER), quota)


async def test_results_take_bytes_but_no_place_among_the_files(store: Store) -> None:
    quota = Quota(files=1, total_bytes=15)
    await store.files.add(a_file(purpose="batch_output", bytes=10), None)
    await store.files.require_room(OURS, quota, files=1, size=5, at=START)
    with pytest.raises(QuotaExceeded):
        await store.files.require_room(OURS, quota, files=1, size=6, at=START)


async def test_a_name_belongs_to_one_living_file_of_a_project(store: Store) -> None:
    await store.files.add(a_file(name="night", expires_at=START + 10), None)
    theirs = await store.files.add(a_file(project=THEIRS, name="night"), None)
    with pytest.raises(Conflict) as refused:
        await store.files.add(a_file(name="night"), None)
    assert refused.value.reason == "name_taken"
    next_one = await store.files.add(a_file(name="night", created_at=START + 10), None)
    assert await store.files.by_name(OURS, "night", START + 10) == next_one
    assert await store.files.by_name(THEIRS, "night", START + 10) == theirs
    await store.files.delete(OURS, next_one.id, START + 11)
    assert await store.files.by_name(OURS, "night", START + 11) is None
    await store.files.add(a_file(name="night", created_at=START + 11), None)


async def test_inline_files_are_kept_but_neither_listed_nor_counted(store: Store) -> None:
    inline = await store.files.add(a_file(purpose=INLINE, display_name="a b", mime_type="text/x"), Quota(files=1))
    shown = await store.files.add(a_file(), Quota(files=1))
    page = await store.files.list(OURS, Cursor(5), START)
    assert page is not None and [file.id for file in page.rows] == [shown.id]
    assert await store.files.get(OURS, inline.id, START) == inline


async def test_a_creation_under_one_key_happens_once(store: Store) -> None:
    first = await store.files.add(a_file(), Quota(files=1), Once("key", "digest"))
    assert await store.files.add(a_file(), Quota(files=1), Once("key", "digest")) == first
    with pytest.raises(Conflict):
        await store.files.add(a_file(), Quota(files=1), Once("key", "another"))
    await store.files.add(a_file(project=THEIRS), ROOM, Once("key", "another"))
    assert await everything(store, OURS) == [first]


async def test_a_creation_is_remembered_longer_than_what_it_made(store: Store) -> None:
    first = await store.files.add(a_file(), ROOM, Once("key", "digest"))
    await store.files.delete(OURS, first.id, LATER)
    await store.files.forget_blobs([first.blob])
    assert (await store.files.add(a_file(), ROOM, Once("key", "digest"))).id == first.id


async def test_a_refused_creation_leaves_its_key_free(store: Store) -> None:
    with pytest.raises(QuotaExceeded):
        await store.files.add(a_file(), Quota(files=0), Once("key", "digest"))
    file = a_file()
    assert await store.files.add(file, ROOM, Once("key", "digest")) == file


# Bytes that are needed no more


async def test_the_bytes_of_a_deleted_file_are_dead_until_forgotten(store: Store) -> None:
    kept, deleted, expired = [await store.files.add(a_file(expires_at=at), ROOM) for at in (None, None, START + 5)]
    assert list(await store.files.dead_blobs(9)) == []
    await store.files.delete(OURS, deleted.id, START)
    assert await store.files.expire(START + 5) == 1
    assert await store.files.expire(START + 5) == 0
    assert list(await store.files.dead_blobs(9)) == [deleted.blob, expired.blob]
    assert len(await store.files.dead_blobs(1)) == 1
    await store.files.forget_blobs([deleted.blob, kept.blob])
    assert list(await store.files.dead_blobs(9)) == [expired.blob]
    assert list(await store.files.unknown_blobs([kept.blob, deleted.blob, expired.blob])) == [deleted.blob]


async def test_the_bytes_that_a_batch_reads_live_until_it_ends(store: Store) -> None:
    file = await store.files.add(a_file(), ROOM)
    batch = await add_batch(store, input_file_id=file.id)
    await store.files.delete(OURS, file.id, LATER)
    assert list(await store.files.dead_blobs(9)) == []
    cancelling = batch.move(BatchState.CANCELLING, LATER)
    assert await store.batches.move(BatchState.VALIDATING, cancelling, an_event(cancelling))
    assert list(await store.files.dead_blobs(9)) == []
    cancelled = cancelling.move(BatchState.CANCELLED, LATER)
    assert await store.batches.move(BatchState.CANCELLING, cancelled, an_event(cancelled))
    assert list(await store.files.dead_blobs(9)) == [file.blob]


async def test_the_bytes_that_a_retry_is_gathered_from_live_until_then(store: Store) -> None:
    input_file, errors = [await store.files.add(a_file(), ROOM) for _ in range(2)]
    old = await ended_with(store, await add_batch(store, input_file_id=input_file.id), errors)
    retry = await add_batch(store, retry_of=old.id, input_file_id=FileId("file-own"))
    for file in (input_file, errors):
        await store.files.delete(OURS, file.id, LATER)
    assert list(await store.files.dead_blobs(9)) == []
    assert await store.batches.retried(retry.id) == Retried(input_file.blob, errors.blob)
    own = a_file(id=FileId("file-own"))
    assert await store.batches.gathered(retry.id, own)
    assert list(await store.files.dead_blobs(9)) == [input_file.blob, errors.blob]
    found = await store.batches.get(OURS, retry.id)
    assert found is not None and found.input_blob == own.blob
    assert await store.files.get(OURS, own.id, LATER) == own


async def test_a_retry_is_gathered_once(store: Store) -> None:
    input_file, errors = [await store.files.add(a_file(), ROOM) for _ in range(2)]
    old = await ended_with(store, await add_batch(store, input_file_id=input_file.id), errors)
    retry = await add_batch(store, retry_of=old.id)
    first, second = a_file(), a_file()
    assert await store.batches.gathered(retry.id, first)
    assert await store.batches.retried(retry.id) is None
    assert not await store.batches.gathered(retry.id, second)
    assert await store.files.get(OURS, second.id, LATER) is None
    assert not await store.batches.gathered((await add_batch(store)).id, second)
    assert await store.batches.retried(old.id) is None


async def ended_with(store: Store, batch: Batch, errors: File) -> Batch:
    for state in (BatchState.CANCELLING, BatchState.CANCELLED):
        moved = changed(batch.move(state, LATER), error_file_id=errors.id)
        assert await store.batches.move(batch.state, moved, an_event(moved))
        batch = moved
    return batch


async def test_bytes_of_files_and_parts_are_known(store: Store) -> None:
    file = await store.files.add(a_file(), ROOM)
    upload = await store.uploads.add(an_upload())
    part = a_part(upload)
    await store.uploads.add_part(OURS, part, ROOM, 9, START)
    assert list(await store.files.unknown_blobs(["files/x", file.blob, part.blob, "parts/y"])) == ["files/x", "parts/y"]


# Uploads


async def test_parts_are_kept_in_the_order_in_which_they_came(store: Store) -> None:
    upload = await store.uploads.add(an_upload())
    parts = [a_part(upload) for _ in range(3)]
    for part in parts:
        assert await store.uploads.add_part(OURS, part, ROOM, 3, START)
    assert list(await store.uploads.parts(upload.id)) == parts
    with pytest.raises(TooLarge):
        await store.uploads.add_part(OURS, a_part(upload), ROOM, 3, START)


async def test_an_upload_is_unknown_to_other_projects(store: Store) -> None:
    upload = await store.uploads.add(an_upload())
    file = a_file(project=THEIRS)
    assert await store.uploads.get(THEIRS, upload.id) is None
    assert not await store.uploads.add_part(THEIRS, a_part(upload), ROOM, 9, START)
    assert await store.uploads.complete(THEIRS, upload.id, [], file, ROOM, START) is None
    assert await store.uploads.cancel(THEIRS, upload.id, START) is None
    assert await store.uploads.get(OURS, upload.id) == upload
    assert await store.files.get(THEIRS, file.id, START) is None


async def test_an_upload_becomes_a_file_once(store: Store) -> None:
    upload = await store.uploads.add(an_upload())
    part, orphan = a_part(upload), a_part(upload)
    for each in (part, orphan):
        await store.uploads.add_part(OURS, each, ROOM, 9, START)
    files = [a_file(), a_file()]
    completed = await asyncio.gather(
        *(store.uploads.complete(OURS, upload.id, [part.id], file, ROOM, START) for file in files)
    )
    expected = changed(upload, state=UploadState.COMPLETED, file_id=files[0].id, part_ids=(part.id,))
    assert completed == [expected, None]
    assert await store.uploads.get(OURS, upload.id) == expected
    assert await everything(store, OURS) == [files[0]]
    assert list(await store.uploads.dead_parts(9)) == [part, orphan]
    await store.uploads.forget_parts([part.id, orphan.id])
    assert list(await store.uploads.dead_parts(9)) == []
    assert not await store.uploads.add_part(OURS, a_part(upload), ROOM, 9, START)


async def test_a_pending_uploads_parts_are_not_forgotten(store: Store) -> None:
    upload = await store.uploads.add(an_upload())
    part = a_part(upload)
    await store.uploads.add_part(OURS, part, ROOM, 9, START)
    assert list(await store.uploads.dead_parts(9)) == []
    await store.uploads.forget_parts([part.id])
    assert list(await store.uploads.parts(upload.id)) == [part]


async def test_an_upload_past_its_end_takes_nothing_more(store: Store) -> None:
    upload = await store.uploads.add(an_upload(expires_at=LATER))
    part = a_part(upload)
    assert await store.uploads.add_part(OURS, part, ROOM, 9, LATER - 1)
    assert not await store.uploads.add_part(OURS, a_part(upload), ROOM, 9, LATER)
    assert await store.uploads.complete(OURS, upload.id, [], a_file(), ROOM, LATER) is None
    assert await store.uploads.cancel(OURS, upload.id, LATER) is None
    assert await store.uploads.expire(LATER) == 1
    assert await store.uploads.get(OURS, upload.id) == changed(upload, state=UploadState.EXPIRED)
    assert list(await store.uploads.dead_parts(9)) == [part]


async def test_a_cancelled_upload_stays_cancelled(store: Store) -> None:
    upload = await store.uploads.add(an_upload())
    assert await store.uploads.cancel(OURS, upload.id, START) == changed(upload, state=UploadState.CANCELLED)
    assert await store.uploads.cancel(OURS, upload.id, START) is None
    assert await store.uploads.expire(upload.expires_at) == 0
    assert await store.uploads.cancel(OURS, UploadId("upload_no"), START) is None


async def test_parts_count_against_the_bytes_of_their_project_until_the_file_does(store: Store) -> None:
    quota = Quota(total_bytes=12)
    upload = await store.uploads.add(an_upload())
    part = a_part(upload, bytes=10)
    assert await store.uploads.add_part(OURS, part, quota, 9, START)
    with pytest.raises(QuotaExceeded):
        await store.uploads.add_part(OURS, a_part(upload), quota, 9, START)
    with pytest.raises(QuotaExceeded):
        await store.files.add(a_file(bytes=3), quota)
    assert await store.uploads.complete(OURS, upload.id, [part.id], a_file(bytes=10), quota, START) is not None
    await store.files.add(a_file(bytes=2), quota)


async def test_an_upload_that_finds_no_room_stays_pending(store: Store) -> None:
    upload = await store.uploads.add(an_upload())
    with pytest.raises(QuotaExceeded):
        await store.uploads.complete(OURS, upload.id, [], a_file(), Quota(files=0), START)
    assert await store.uploads.get(OURS, upload.id) == upload


async def test_an_upload_under_one_key_is_created_once(store: Store) -> None:
    first = await store.uploads.add(an_upload(), Once("key", "digest"))
    assert await store.uploads.add(an_upload(), Once("key", "digest")) == first
    await store.files.add(a_file(), ROOM, Once("key", "other"))  # another call has its own keys


# Batches


async def test_a_batch_is_read_back_as_it_was_added(store: Store) -> None:
    key = a_key()
    await store.keys.add(key)
    file = await store.files.add(a_file(), ROOM)
    batch = a_batch(key_id=key.id, form=Form.AZURE, input_file_id=file.id, metadata={"ä": "\u2028"}, deadline_at=None)
    stored = await store.batches.add(batch, an_event(batch), ROOM)
    assert stored == changed(batch, input_blob=file.blob)
    assert await store.batches.get(OURS, batch.id) == stored
    assert list(await store.batches.unended()) == [stored]


async def test_a_batch_reads_only_a_living_file_of_its_own_project(store: Store) -> None:
    theirs = await store.files.add(a_file(project=THEIRS), ROOM)
    expired = await store.files.add(a_file(expires_at=START), ROOM)
    for id in (theirs.id, expired.id, FileId("file-no")):
        assert (await add_batch(store, input_file_id=id, input_blob="files/stolen")).input_blob is None


async def test_a_batch_is_unknown_to_other_projects(store: Store) -> None:
    batch = await add_batch(store)
    assert await store.batches.get(THEIRS, batch.id) is None
    assert await store.batches.list(THEIRS, Cursor(5, batch.id)) is None
    moved = changed(batch, project=THEIRS).move(BatchState.CANCELLING, START)
    assert not await store.batches.move(BatchState.VALIDATING, moved, an_event(moved))
    page = await store.batches.list(THEIRS, Cursor(5))
    assert page is not None
    assert (list(page.rows), page.more) == ([], False)


async def test_a_move_is_made_once_with_its_event(store: Store) -> None:
    batch = await add_batch(store)
    first, second = [batch.move(BatchState.CANCELLING, START + at) for at in (1, 2)]
    moved = await asyncio.gather(
        *(store.batches.move(BatchState.VALIDATING, each, an_event(each)) for each in (first, second))
    )
    assert moved == [True, False]
    assert await store.batches.get(OURS, batch.id) == first
    events = [event for _, event in await store.events.after(0, 9)]
    assert [(event.kind, event.at) for event in events] == [
        ("batch.validating", START),
        ("batch.cancelling", START + 1),
    ]


@pytest.mark.parametrize("before", BatchState)
async def test_only_moves_of_the_table_are_written(store: Store, before: BatchState) -> None:
    batch = await add_batch(store)
    for to in set(BatchState) - MOVES[before]:
        with pytest.raises(ValueError, match="does not lead"):
            await store.batches.move(before, changed(batch, state=to), an_event(batch))


async def test_a_move_writes_what_came_with_it_but_the_counts_with_the_end_only(store: Store) -> None:
    batch = await add_batch(store)
    counts, usage = Counts(10, 3, 2, 1, 0), Usage(100, 20, 3, 4)
    assert await store.batches.count(batch.id, counts, usage)
    running = batch.move(BatchState.IN_PROGRESS, LATER)
    assert await store.batches.move(BatchState.VALIDATING, running, an_event(running))
    assert await store.batches.get(OURS, batch.id) == changed(running, counts=counts, usage=usage)
    cancelling = running.move(BatchState.CANCELLING, LATER)
    assert await store.batches.move(BatchState.IN_PROGRESS, cancelling, an_event(cancelling))
    cancelled = changed(cancelling.move(BatchState.CANCELLED, LATER), counts=Counts(10, 4, 2, 4), usage=Usage(7, 8))
    assert await store.batches.move(BatchState.CANCELLING, cancelled, an_event(cancelled))
    assert await store.batches.get(OURS, batch.id) == cancelled


async def test_a_move_to_failed_says_why(store: Store) -> None:
    batch = await add_batch(store)
    errors = (LineError(number=3, code="invalid_url", message="Ä", remedy="r", param="url", custom_id="x"),)
    failed = changed(batch.move(BatchState.FAILED, LATER), errors=errors, error_count=7, model="m")
    assert await store.batches.move(BatchState.VALIDATING, failed, an_event(failed))
    assert await store.batches.get(OURS, batch.id) == failed


async def test_result_files_are_published_with_the_end(store: Store) -> None:
    batch = await add_batch(store)
    for to in (BatchState.IN_PROGRESS, BatchState.FINALIZING):
        moved = batch.move(to, LATER)
        assert await store.batches.move(batch.state, moved, an_event(moved))
        batch = moved
    tries = [[a_file(purpose="batch_output") for _ in range(2)] for _ in range(2)]
    ends = [
        changed(batch.move(BatchState.COMPLETED, LATER), output_file_id=output.id, error_file_id=errors.id)
        for output, errors in tries
    ]
    moved = [
        await store.batches.move(BatchState.FINALIZING, end, an_event(end), files)
        for end, files in zip(ends, tries, strict=True)
    ]
    assert moved == [True, False]
    assert await store.batches.get(OURS, batch.id) == ends[0]
    assert await everything(store, OURS) == tries[0][::-1]


async def test_counts_of_an_ended_batch_stand(store: Store) -> None:
    batch = await add_batch(store)
    failed = batch.move(BatchState.FAILED, LATER)
    await store.batches.move(BatchState.VALIDATING, failed, an_event(failed))
    assert not await store.batches.count(batch.id, Counts(9, 9), Usage())
    assert not await store.batches.count(BatchId("batch_no"), Counts(9, 9), Usage())
    assert await store.batches.get(OURS, batch.id) == failed
    assert list(await store.batches.unended()) == []


@pytest.mark.parametrize("direction", Direction)
async def test_pages_of_batches_hold_everything_once(store: Store, direction: Direction) -> None:
    batches = [await add_batch(store, created_at=START + time) for time in (3, 3, 1, 2, 3)]
    await add_batch(store, project=THEIRS)
    seen, after, more = list[BatchId](), None, True
    while more:
        page = await store.batches.list(OURS, Cursor(2, after, direction))
        assert page is not None
        seen, after, more = [*seen, *(batch.id for batch in page.rows)], page.rows[-1].id, page.more
    expected = [batches[place].id for place in (2, 3, 0, 1, 4)]
    assert seen == (expected if direction is Direction.ASC else expected[::-1])


@pytest.mark.parametrize(
    ("where", "places"),
    [
        (BatchFilter(), [0, 1, 2]),
        (BatchFilter(created_from=START + 1), [1, 2]),
        (BatchFilter(created_until=START + 1), [0, 1]),
        (BatchFilter(created_from=START + 1, created_until=START + 1), [1]),
        (BatchFilter(states=frozenset({BatchState.FAILED})), [2]),
        (BatchFilter(states=frozenset({BatchState.FAILED, BatchState.VALIDATING})), [0, 1, 2]),
        (BatchFilter(states=frozenset()), []),
    ],
)
async def test_a_filter_restricts_the_list(store: Store, where: BatchFilter, places: list[int]) -> None:
    batches = [await add_batch(store, created_at=START + time) for time in range(3)]
    failed = batches[2].move(BatchState.FAILED, LATER)
    await store.batches.move(BatchState.VALIDATING, failed, an_event(failed))
    page = await store.batches.list(OURS, Cursor(10, direction=Direction.ASC), where)
    assert page is not None
    assert [batch.id for batch in page.rows] == [batches[place].id for place in places]


async def test_a_deleted_batch_is_in_no_list_and_no_quota_but_walks_on(store: Store) -> None:
    gone, kept = a_batch(form=Form.GEMINI, inline=True, asked_model="m", display_name="n"), a_batch()
    for batch in (gone, kept):
        await store.batches.add(batch, an_event(batch), Quota(batches=2))
    assert await store.batches.delete(THEIRS, gone.id, START) is None
    deleted = await store.batches.delete(OURS, gone.id, START + 1)
    assert deleted == changed(gone, deleted_at=START + 1)
    assert await store.batches.delete(OURS, gone.id, START + 2) is None
    assert await store.batches.get(OURS, gone.id) == deleted
    page = await store.batches.list(OURS, Cursor(5, gone.id, Direction.ASC))
    assert page is not None and [batch.id for batch in page.rows] == [kept.id]
    assert gone.id in {batch.id for batch in await store.batches.unended()}
    another = a_batch()
    await store.batches.add(another, an_event(another), Quota(batches=2))


async def test_a_batch_is_described_until_it_ends(store: Store) -> None:
    batch = a_batch()
    await store.batches.add(batch, an_event(batch), Quota())
    assert await store.batches.describe(THEIRS, batch.id, "n", 3) is None
    assert await store.batches.describe(OURS, batch.id, "n", 3) == changed(batch, display_name="n", priority=3)
    failed = batch.move(BatchState.FAILED, START)
    assert await store.batches.move(batch.state, failed, an_event(failed))
    assert await store.batches.describe(OURS, batch.id, "m", 3) is None


async def test_only_batches_that_have_not_ended_count_against_the_quota(store: Store) -> None:
    quota = Quota(batches=1)
    first = a_batch()
    await store.batches.add(first, an_event(first), quota)
    refused = a_batch()
    with pytest.raises(QuotaExceeded):
        await store.batches.add(refused, an_event(refused), quota)
    theirs = a_batch(project=THEIRS)
    await store.batches.add(theirs, an_event(theirs), quota)
    failed = first.move(BatchState.FAILED, LATER)
    await store.batches.move(BatchState.VALIDATING, failed, an_event(failed))
    assert (await store.batches.add(refused, an_event(refused), quota)).id == refused.id


async def begin(store: Store, batch: Batch, tokens: int, room: TokenRoom, model: str = "m") -> Batch:
    """Let a batch run with its tokens."""
    running = changed(batch.move(BatchState.IN_PROGRESS, LATER), enqueued_tokens=tokens, model=model)
    assert await store.batches.move(batch.state, running, an_event(running), room=room)
    return running


async def end(store: Store, running: Batch, spent: Sequence[Spent] = (), **changes: object) -> Batch:
    finalizing = running.move(BatchState.FINALIZING, LATER)
    assert await store.batches.move(running.state, finalizing, an_event(finalizing))
    ended = changed(finalizing.move(BatchState.COMPLETED, LATER), **changes)
    assert await store.batches.move(finalizing.state, ended, an_event(ended), spent=spent)
    return ended


async def test_tokens_beyond_the_room_are_refused_however_many_come_at_once(store: Store) -> None:
    batches = [await add_batch(store) for _ in range(5)]
    begun = await asyncio.gather(
        *(begin(store, batch, 40, TokenRoom(project=100)) for batch in batches), return_exceptions=True
    )
    assert [isinstance(each, QuotaExceeded) for each in begun].count(True) == 3
    assert await store.batches.enqueued(OURS) == 80
    assert await store.batches.enqueued(THEIRS) == 0
    for refused in (batch for batch, each in zip(batches, begun, strict=True) if isinstance(each, QuotaExceeded)):
        assert await store.batches.get(OURS, refused.id) == refused


async def test_the_tokens_of_a_model_have_a_room_of_their_own(store: Store) -> None:
    room = TokenRoom(project=100, model=50)
    one, other, theirs = await add_batch(store), await add_batch(store), await add_batch(store, project=THEIRS)
    await begin(store, one, 50, room)
    with pytest.raises(QuotaExceeded, match="token_limit_exceeded: 50 of 50 enqueued tokens"):
        await begin(store, other, 1, room)
    await begin(store, theirs, 50, room)
    await begin(store, other, 50, room, model="another")


async def test_a_batch_that_ends_holds_nothing_any_more(store: Store) -> None:
    room = TokenRoom(project=100)
    first, second = await add_batch(store), await add_batch(store)
    running = await begin(store, first, 100, room)
    cancelling = second.move(BatchState.CANCELLING, LATER)
    assert await store.batches.move(second.state, cancelling, an_event(cancelling), room=room)
    with pytest.raises(QuotaExceeded):
        await begin(store, await add_batch(store), 1, room)
    ended = await end(store, running)
    assert ended.enqueued_tokens == 100, "whatever it says itself"
    stored = await store.batches.get(OURS, first.id)
    assert stored is not None and stored.enqueued_tokens == 0 == await store.batches.enqueued(OURS)
    await begin(store, await add_batch(store), 100, room)


async def test_a_batch_is_charged_once_with_its_end(store: Store) -> None:
    running = await begin(store, await add_batch(store), 0, TokenRoom())
    usage, day = Usage(100, 20, 30, 4), day_of(LATER)
    bills = [
        Spent(project=OURS, day=day, model=model, batch=True, currency="EUR", requests=7, usage=usage, nanos=nanos)
        for model, nanos in (("m", 70), ("n", 7))
    ]
    ended = await end(store, running, bills, cost_nanos=77, currency="EUR")
    again = await store.batches.move(BatchState.FINALIZING, ended, an_event(ended), spent=bills)
    assert not again and list(await store.spending.between(day, day + 1)) == bills
    stored = await store.batches.get(OURS, running.id)
    assert stored is not None and (stored.cost_nanos, stored.currency) == (77, "EUR")


async def test_what_is_spent_adds_up_by_day_project_model_kind_and_currency(store: Store) -> None:
    row = Spent(project=OURS, day=86_400, model="m", batch=False, requests=1, usage=Usage(1, 2, 3, 4), nanos=5)
    others = [
        changed(row, day=0), changed(row, project=THEIRS), changed(row, model="n"), changed(row, batch=True),
        changed(row, currency="USD"),
    ]  # fmt: skip
    await store.spending.add([row, *others])
    await store.spending.add([row])
    double = changed(row, requests=2, usage=Usage(2, 4, 6, 8), nanos=10)
    found = await store.spending.between(86_400, 86_401)
    assert sorted(found, key=repr) == sorted([double, *others[1:]], key=repr)
    assert list(await store.spending.between(0, 86_400)) == [others[0]]
    assert list(await store.spending.between(0, 90_000, THEIRS)) == [others[1]]


async def test_spending_is_added_wholly_or_not_at_all(store: Store) -> None:
    row = Spent(project=OURS, day=0, model="m", batch=False, requests=1)
    with pytest.raises(Invalid):
        await store.spending.add([row, changed(row, model="\ud800")])
    assert list(await store.spending.between(0, 1)) == []


async def test_a_batch_under_one_key_is_created_once_with_one_event(store: Store) -> None:
    batches = [a_batch() for _ in range(5)]
    made = await asyncio.gather(
        *(store.batches.add(batch, an_event(batch), Quota(batches=1), Once("key", "digest")) for batch in batches)
    )
    assert {batch.id for batch in made} == {batches[0].id}
    assert len(await store.events.after(0, 99)) == 1


# Events


async def test_events_are_numbered_and_read_on_from_a_number(store: Store) -> None:
    ours = await add_batch(store)
    theirs = await add_batch(store, project=THEIRS)
    moved = ours.move(BatchState.IN_PROGRESS, LATER)
    await store.batches.move(BatchState.VALIDATING, moved, an_event(moved))
    events = await store.events.after(0, 99)
    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers))
    assert [event.batch_id for _, event in events] == [ours.id, theirs.id, ours.id]
    assert list(await store.events.after(numbers[0], 1)) == [events[1]]
    assert [event.kind for _, event in await store.events.after(0, 9, OURS)] == [
        "batch.validating",
        "batch.in_progress",
    ]


async def test_the_newest_event_of_all_projects_is_the_last(store: Store) -> None:
    assert await store.events.last() == 0
    await add_batch(store)
    await add_batch(store, project=THEIRS)
    assert await store.events.last() == (await store.events.after(0, 99))[-1][0]


async def test_old_events_are_forgotten_and_their_numbers_stay_used(store: Store) -> None:
    old = await add_batch(store)
    kept = await add_batch(store, created_at=LATER)
    before = await store.events.after(0, 9)
    assert await store.events.forget(LATER) == 1
    assert [event.batch_id for _, event in await store.events.after(0, 9)] == [kept.id]
    assert await store.events.forget(LATER + 1) == 1
    moved = old.move(BatchState.FAILED, LATER)
    await store.batches.move(BatchState.VALIDATING, moved, an_event(moved))
    (again,) = await store.events.after(0, 9)
    assert again[0] > before[-1][0] and again[1].kind == "batch.failed"


# Webhooks


async def failed(store: Store, **changes: object) -> Event:
    """A batch that ends at LATER; the event of its end."""
    batch = await add_batch(store, **changes)
    ended = batch.move(BatchState.FAILED, LATER)
    event = an_event(ended)
    assert await store.batches.move(BatchState.VALIDATING, ended, event)
    return event


async def an_added(store: Store, **changes: object) -> WebhookEndpoint:
    endpoint = an_endpoint(**changes)
    await store.webhooks.add(endpoint, 20)
    return endpoint


async def test_an_endpoint_is_read_back_by_its_own_project(store: Store) -> None:
    endpoint = await an_added(store)
    assert await store.webhooks.get(OURS, endpoint.id) == endpoint
    assert await store.webhooks.get(THEIRS, endpoint.id) is None
    assert await store.webhooks.update(THEIRS, endpoint.id, EndpointFields(name="x"), LATER) is None
    assert await store.webhooks.rotate(THEIRS, endpoint.id, "x", LATER, keep_old=True) is None
    assert not await store.webhooks.delete(THEIRS, endpoint.id, LATER)
    assert await store.webhooks.list(THEIRS, Cursor(5, endpoint.id)) is None
    assert await store.webhooks.get(OURS, endpoint.id) == endpoint


async def test_endpoints_are_listed_from_any_place_even_a_deleted_one(store: Store) -> None:
    made = [await an_added(store) for _ in range(5)]
    assert await store.webhooks.delete(OURS, made[2].id, LATER)
    assert not await store.webhooks.delete(OURS, made[2].id, LATER)
    page = await store.webhooks.list(OURS, Cursor(2))
    assert page is not None and (list(page.rows), page.more) == ([made[4], made[3]], True)
    page = await store.webhooks.list(OURS, Cursor(2, made[2].id))
    assert page is not None and (list(page.rows), page.more) == ([made[1], made[0]], False)
    page = await store.webhooks.list(OURS, Cursor(9, made[0].id, Direction.ASC))
    assert page is not None and list(page.rows) == [made[1], made[3], made[4]]


async def test_a_project_has_so_many_endpoints_at_most(store: Store) -> None:
    first, second = an_endpoint(), an_endpoint()
    await store.webhooks.add(first, 1)
    await store.webhooks.add(an_endpoint(project=THEIRS), 1)
    with pytest.raises(QuotaExceeded):
        await store.webhooks.add(second, 1)
    await store.webhooks.delete(OURS, first.id, LATER)
    await store.webhooks.add(second, 1)


async def test_an_endpoint_is_changed_and_rotated(store: Store) -> None:
    endpoint = await an_added(store)
    given = EndpointFields(name="new", event_kinds=("batch.failed",))
    after = await store.webhooks.update(OURS, endpoint.id, given, LATER)
    assert after == changed(endpoint, name="new", event_kinds=("batch.failed",), updated_at=LATER)
    rotated = await store.webhooks.rotate(OURS, endpoint.id, "whsec_new", LATER, keep_old=True)
    assert rotated is not None and rotated.signing(LATER) == ("whsec_new", endpoint.secret)
    assert await store.webhooks.get(OURS, endpoint.id) == rotated


async def test_an_end_leaves_one_delivery_for_each_endpoint_that_wants_it(store: Store) -> None:
    wants, also = await an_added(store), await an_added(store, event_kinds=("batch.failed",))
    await an_added(store, event_kinds=("batch.completed", "batch.cancelled"))
    await an_added(store, project=THEIRS)
    gone = await an_added(store)
    await store.webhooks.delete(OURS, gone.id, START)
    event = await failed(store)
    await an_added(store)  # too late for it
    assert await store.webhooks.due(LATER - 1, 5) == []
    due = await store.webhooks.due(LATER, 5)
    assert {(each.event, each.endpoint_id, endpoint) for each, endpoint in due} == {
        (event, wants.id, wants), (event, also.id, also)
    }  # fmt: skip
    assert len(due) == 2


async def test_a_move_that_is_lost_leaves_no_delivery(store: Store) -> None:
    await an_added(store)
    batch = await add_batch(store)
    ended = batch.move(BatchState.FAILED, LATER)
    moves = [store.batches.move(BatchState.VALIDATING, ended, an_event(ended)) for _ in range(4)]
    assert sum(await asyncio.gather(*moves)) == 1
    assert len(await store.webhooks.due(LATER, 9)) == 1


async def test_of_each_endpoint_only_the_first_few_are_due(store: Store) -> None:
    busy = await an_added(store)
    events = [await failed(store) for _ in range(5)]
    other = await an_added(store)
    last = await failed(store)
    due = await store.webhooks.due(LATER, 2)
    assert [(each.event, each.endpoint_id) for each, _ in due if each.endpoint_id == busy.id] == [
        (event, busy.id) for event in events[:2]
    ]
    assert [each.event for each, _ in due if each.endpoint_id == other.id] == [last]


async def test_a_delivery_waits_for_its_time_and_ends_once(store: Store) -> None:
    await an_added(store)
    await failed(store)
    ((delivery, endpoint),) = await store.webhooks.due(LATER, 1)
    waiting = changed(delivery, attempts=1, first_at=LATER, due_at=LATER + 9, status=500)
    assert await store.webhooks.write(waiting)
    assert await store.webhooks.due(LATER + 8, 1) == []
    assert list(await store.webhooks.due(LATER + 9, 1)) == [(waiting, endpoint)]
    assert await store.webhooks.write(changed(waiting, state=DeliveryState.DELIVERED))
    assert not await store.webhooks.write(waiting)
    assert await store.webhooks.due(LATER + 99, 1) == []


async def test_deliveries_go_with_their_endpoint(store: Store) -> None:
    endpoint = await an_added(store)
    await failed(store)
    ((delivery, _),) = await store.webhooks.due(LATER, 1)
    await store.webhooks.delete(OURS, endpoint.id, LATER)
    assert await store.webhooks.due(LATER, 1) == []
    assert not await store.webhooks.write(delivery)


async def test_ended_deliveries_are_forgotten_and_pending_ones_are_not(store: Store) -> None:
    await an_added(store)
    await failed(store)
    await failed(store)
    (first, _), (second, _) = await store.webhooks.due(LATER, 2)
    await store.webhooks.write(changed(first, state=DeliveryState.GIVEN_UP, due_at=LATER))
    assert await store.webhooks.forget(LATER) == 0
    assert await store.webhooks.forget(LATER + 1) == 1
    assert [each for each, _ in await store.webhooks.due(LATER, 2)] == [second]


async def test_a_list_may_be_of_one_wires_endpoints(store: Store) -> None:
    made = [await an_added(store, form=form) for form in (Form.OPENAI, Form.GEMINI, Form.OPENAI, Form.GEMINI)]
    assert await store.webhooks.get(OURS, made[1].id) == made[1]
    for direction, places in ((Direction.DESC, (3, 1)), (Direction.ASC, (1, 3))):
        page = await store.webhooks.list(OURS, Cursor(1, direction=direction), Form.GEMINI)
        assert page is not None and (list(page.rows), page.more) == ([made[places[0]]], True)
        page = await store.webhooks.list(OURS, Cursor(1, made[places[0]].id, direction), Form.GEMINI)
        assert page is not None and (list(page.rows), page.more) == ([made[places[1]]], False)
    page = await store.webhooks.list(OURS, Cursor(9))
    assert page is not None and len(page.rows) == 4


async def test_a_disabled_endpoint_waits_with_what_it_has_and_gets_nothing_new(store: Store) -> None:
    endpoint = await an_added(store)
    event = await failed(store)
    disabled = await store.webhooks.update(OURS, endpoint.id, EndpointFields(enabled=False), LATER)
    assert disabled == changed(endpoint, enabled=False, updated_at=LATER)
    await failed(store)
    assert await store.webhooks.due(LATER, 5) == []
    await store.webhooks.update(OURS, endpoint.id, EndpointFields(enabled=True), LATER)
    assert [each.event for each, _ in await store.webhooks.due(LATER, 5)] == [event]


HOOKS = Hooks(uris=("https://a.example", "https://b.example"), user_metadata={"a": [1, None]})


async def test_a_batchs_hooks_are_read_back_with_it(store: Store) -> None:
    batch = await add_batch(store, hooks=HOOKS, form=Form.GEMINI)
    assert batch.hooks == HOOKS and await store.batches.get(OURS, batch.id) == batch


async def test_a_batchs_hooks_hear_of_its_end_instead_of_its_forms_endpoints(store: Store) -> None:
    await an_added(store, form=Form.GEMINI)
    other = await an_added(store, form=Form.OPENAI)
    await add_batch(store, hooks=HOOKS, form=Form.GEMINI)  # does not end
    event = await failed(store, hooks=HOOKS, form=Form.GEMINI)
    due = await store.webhooks.due(LATER, 5)
    assert {each.event for each, _ in due} == {event}
    assert sorted(endpoint.url for _, endpoint in due) == sorted([*HOOKS.uris, other.url])
    for _, hook in due:
        if hook != other:
            assert (hook.only_batch, hook.project, hook.form, hook.secrets) == (event.batch_id, OURS, Form.GEMINI, ())


async def test_a_batchs_hooks_are_nobodys_endpoints(store: Store) -> None:
    """Neither seen, nor changed, nor counted."""
    await failed(store, hooks=HOOKS, form=Form.GEMINI)
    (_, hook), _ = await store.webhooks.due(LATER, 5)
    assert await store.webhooks.get(OURS, hook.id) is None
    assert await store.webhooks.update(OURS, hook.id, EndpointFields(name="x"), LATER) is None
    assert await store.webhooks.rotate(OURS, hook.id, "x", LATER, keep_old=True) is None
    assert not await store.webhooks.delete(OURS, hook.id, LATER)
    assert await store.webhooks.list(OURS, Cursor(9, hook.id)) is None
    page = await store.webhooks.list(OURS, Cursor(9))
    assert page is not None and not page.rows
    await store.webhooks.add(an_endpoint(), 1)
    assert len(await store.webhooks.due(LATER, 5)) == 2


async def test_a_batchs_hooks_go_with_their_delivery(store: Store) -> None:
    await failed(store, hooks=HOOKS, form=Form.GEMINI)
    first, second = await store.webhooks.due(LATER, 5)
    await store.webhooks.write(changed(first[0], state=DeliveryState.DELIVERED, due_at=LATER))
    assert await store.webhooks.forget(LATER + 1) == 1
    assert not await store.webhooks.write(first[0])
    assert list(await store.webhooks.due(LATER, 5)) == [second]


# Whatever comes


_text = st.text(max_size=20)


@given(id=_text, other=st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3), number=st.integers())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_id_and_number_is_answered(store: Store, id: str, other: str, number: int) -> None:
    """What no database can hold is refused as the caller's mistake, not raised as ours."""
    assert await store.files.get(OURS, FileId(id), START) is None
    with pytest.raises(Invalid):
        await store.files.get(OURS, FileId(other), START)
    try:
        page = await store.batches.list(OURS, Cursor(5), BatchFilter(created_from=number))
    except Invalid:
        assert not -(2**63) <= number < 2**63
    else:
        assert page is not None


async def test_text_that_is_no_unicode_is_refused_in_a_batch(store: Store) -> None:
    batch = a_batch(metadata={"a": "\ud800"})
    with pytest.raises(Invalid):
        await store.batches.add(batch, an_event(batch), ROOM)
    assert list(await store.batches.unended()) == []


async def test_a_forgotten_part_was_one_of_an_ended_upload(store: Store) -> None:
    await store.uploads.forget_parts([PartId("part_no")])
    assert msgspec.to_builtins(list(await store.uploads.dead_parts(5))) == []


# Resumables


async def add_resumable(store: Store, **changes: object) -> Resumable:
    resumable = a_resumable(**changes)
    await store.resumables.add(resumable)
    return resumable


async def test_a_resumable_is_found_by_its_secret_alone(store: Store) -> None:
    made = await add_resumable(store, key_id=KeyId("k"), name="n", display_name="d", mime_type="jsonl")
    other = await add_resumable(store, project=THEIRS, bytes=None)
    assert await store.resumables.by_secret(made.secret_hash) == made
    assert await store.resumables.by_secret(other.secret_hash) == other
    assert await store.resumables.by_secret(b"") is None


async def test_a_resumable_grows_from_what_it_was_thought_to_be(store: Store) -> None:
    made = await add_resumable(store)
    assert await store.resumables.grow(OURS, made.id, 0, 4, ROOM, START)
    assert not await store.resumables.grow(OURS, made.id, 0, 9, ROOM, START)
    assert not await store.resumables.grow(THEIRS, made.id, 4, 9, ROOM, START)
    assert await store.resumables.by_secret(made.secret_hash) == changed(made, received=4)


async def test_what_a_resumable_has_counts_until_its_file_does(store: Store) -> None:
    made = await add_resumable(store)
    quota = Quota(total_bytes=10)
    assert await store.resumables.grow(OURS, made.id, 0, 8, quota, START)
    with pytest.raises(QuotaExceeded):
        await store.resumables.grow(OURS, made.id, 8, 11, quota, START)
    with pytest.raises(QuotaExceeded):
        await store.files.require_room(OURS, quota, files=0, size=3, at=START)
    await store.files.require_room(OURS, quota, files=0, size=2, at=START)
    await store.files.require_room(OURS, quota, files=0, size=10, at=made.expires_at)
    await store.files.require_room(THEIRS, quota, files=0, size=10, at=START)
    assert await store.resumables.complete(OURS, made.id, a_file(bytes=10), quota, START)
    with pytest.raises(QuotaExceeded):
        await store.files.require_room(OURS, quota, files=0, size=1, at=START)


async def test_a_resumable_becomes_a_file_once(store: Store) -> None:
    made, file = await add_resumable(store), a_file(name="n")
    assert not await store.resumables.complete(THEIRS, made.id, a_file(project=THEIRS), ROOM, START)
    assert await store.resumables.complete(OURS, made.id, file, ROOM, START)
    assert not await store.resumables.complete(OURS, made.id, a_file(), ROOM, START)
    assert not await store.resumables.grow(OURS, made.id, file.bytes, 99, ROOM, START)
    assert await store.resumables.cancel(OURS, made.id, START) is None
    done = changed(made, state=UploadState.COMPLETED, received=file.bytes)
    assert await store.resumables.by_secret(made.secret_hash) == done
    assert await everything(store, OURS) == [file]


@pytest.mark.parametrize("refuses", ["name", "quota"])
async def test_a_resumable_that_cannot_become_a_file_stays_pending(store: Store, refuses: str) -> None:
    await store.files.add(a_file(name="taken"), ROOM)
    made = await add_resumable(store)
    asked = a_file(name="taken" if refuses == "name" else "free")
    with pytest.raises(Conflict if refuses == "name" else QuotaExceeded):
        await store.resumables.complete(OURS, made.id, asked, ROOM if refuses == "name" else Quota(files=1), START)
    assert await store.resumables.by_secret(made.secret_hash) == made


async def test_resumables_that_ended_otherwise_are_dead_until_they_are_forgotten(store: Store) -> None:
    cancelled, late = await add_resumable(store), await add_resumable(store, expires_at=LATER)
    pending, done = await add_resumable(store), await add_resumable(store, expires_at=LATER)
    assert await store.resumables.complete(OURS, done.id, a_file(), ROOM, START)
    assert await store.resumables.cancel(THEIRS, cancelled.id, START) is None
    gone = await store.resumables.cancel(OURS, cancelled.id, START)
    assert gone == changed(cancelled, state=UploadState.CANCELLED)
    assert not await store.resumables.grow(OURS, cancelled.id, 0, 1, ROOM, START)
    assert not await store.resumables.grow(OURS, late.id, 0, 1, ROOM, LATER)
    assert await store.resumables.cancel(OURS, late.id, LATER) is None
    assert await store.resumables.expire(LATER) == 1
    assert [each.id for each in await store.resumables.dead(9)] == [cancelled.id, late.id]
    await store.resumables.forget([cancelled.id, late.id, pending.id])
    assert list(await store.resumables.dead(9)) == []
    assert await store.resumables.by_secret(late.secret_hash) is None
    assert await store.resumables.by_secret(done.secret_hash) is None, "its time is over, too"
    assert await store.resumables.by_secret(pending.secret_hash) == pending


async def test_the_blob_of_a_resumable_is_known(store: Store) -> None:
    made = await add_resumable(store)
    assert list(await store.files.unknown_blobs([made.blob, "files/other"])) == ["files/other"]
