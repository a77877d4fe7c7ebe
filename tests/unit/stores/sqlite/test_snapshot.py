"""What a saved database needs of the blobs beside it."""

from pathlib import Path

from batchyard.domain.access import Quota
from batchyard.domain.batch import BatchState
from batchyard.stores import sqlite
from batchyard.stores.sqlite.snapshot import needed
from tests.support.tenants import OURS, START, TurnsOffload, a_batch, a_file, a_project, an_event, changed


async def test_what_a_retry_is_gathered_from_is_needed_until_then(tmp_path: Path) -> None:
    path = str(tmp_path / "facts.db")
    store = await sqlite.open(sqlite.Config(path=path), TurnsOffload())
    await store.projects.add(a_project(OURS))
    source, errors, own = a_file(), a_file(), a_file()
    for file in (source, errors):
        await store.files.add(file, Quota())
    asked = a_batch(input_file_id=source.id)
    old = await store.batches.add(asked, an_event(asked), Quota())
    for state in (BatchState.CANCELLING, BatchState.CANCELLED):
        moved = changed(old.move(state, START), error_file_id=errors.id)
        assert await store.batches.move(old.state, moved, an_event(moved))
        old = moved
    retry = a_batch(retry_of=old.id)
    await store.batches.add(retry, an_event(retry), Quota())
    for file in (source, errors):
        await store.files.delete(OURS, file.id, START)
    assert {each.key for each in needed(path)} == {source.blob, errors.blob}
    await store.batches.gathered(retry.id, own)
    assert {each.key for each in needed(path)} == {own.blob}
    await store.close()
