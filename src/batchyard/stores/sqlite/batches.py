"""Batches, and the events that their moves write."""

from collections.abc import Sequence

import msgspec

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.batch import MOVES, Batch, BatchId, BatchState, Counts
from batchyard.domain.errors import QuotaExceeded
from batchyard.domain.event import Event
from batchyard.domain.file import File
from batchyard.domain.price import Spent
from batchyard.domain.result import Usage
from batchyard.store import BatchFilter, Cursor, Once, Page, Retried, TokenRoom
from batchyard.stores.sqlite.database import Database, Row, Transaction
from batchyard.stores.sqlite.files import add_file, nameless_if_taken
from batchyard.stores.sqlite.limits import made_before, remember, require_token_room
from batchyard.stores.sqlite.paging import page
from batchyard.stores.sqlite.spending import add_spent
from batchyard.stores.sqlite.webhooks import add_hooks, enqueue

_JSON = ("metadata", "counts", "usage", "errors", "hooks")
"""Columns that hold a value as JSON."""


class SqliteBatches:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, batch: Batch, event: Event, quota: Quota, once: Once | None = None) -> Batch:
        return await self._database.write(lambda t: _add_once(t, batch, event, quota, once))

    async def get(self, project: ProjectId, id: BatchId) -> Batch | None:
        return _batch(await self._database.look("batches/get", project=project, id=id))

    async def delete(self, project: ProjectId, id: BatchId, at: int) -> Batch | None:
        return _batch(await self._database.write(lambda t: t.row("batches/delete", project=project, id=id, at=at)))

    async def describe(self, project: ProjectId, id: BatchId, display_name: str | None, priority: int) -> Batch | None:
        described: Row = {"project": project, "id": id, "display_name": display_name, "priority": priority}
        return _batch(await self._database.write(lambda t: t.row("batches/describe", **described)))

    async def list(
        self,
        project: ProjectId,
        cursor: Cursor,
        where: BatchFilter = BatchFilter(),  # noqa: B008 - frozen
    ) -> Page[Batch] | None:
        return await self._database.read(
            lambda t: page(
                t,
                "batches",
                project,
                cursor,
                _convert,
                states=None if where.states is None else _json(sorted(where.states)),
                forms=None if where.forms is None else _json(sorted(where.forms)),
                created_from=where.created_from,
                created_until=where.created_until,
            )
        )

    async def unended(self) -> Sequence[Batch]:
        return await self._database.read(lambda t: [_convert(row) for row in t.rows("batches/unended")])

    async def enqueued(self, project: ProjectId) -> int:
        row = await self._database.read(lambda t: t.row("batches/enqueued", project=project, model=None))
        return row["tokens"] if row else 0

    async def move(
        self,
        before: BatchState,
        batch: Batch,
        event: Event,
        files: Sequence[File] = (),
        room: TokenRoom = TokenRoom(),  # noqa: B008 - frozen
        spent: Sequence[Spent] = (),
    ) -> bool:
        if batch.state not in MOVES[before]:
            raise ValueError(f"{before} does not lead to {batch.state}")
        return await self._database.write(lambda t: _move(t, before, batch, event, files, room, spent))

    async def retried(self, id: BatchId) -> Retried | None:
        row = await self._database.read(lambda t: t.row("batches/retried", id=id))
        return msgspec.convert(row, Retried) if row else None

    async def gathered(self, id: BatchId, file: File) -> bool:
        return await self._database.write(lambda t: _gathered(t, id, file))

    async def count(self, id: BatchId, counts: Counts, usage: Usage) -> bool:
        counted, used = _json(counts), _json(usage)
        return await self._database.write(lambda t: bool(t.run("batches/count", id=id, counts=counted, usage=used)))


class SqliteEvents:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def after(self, number: int, limit: int, project: ProjectId | None = None) -> Sequence[tuple[int, Event]]:
        if project is None:
            rows = await self._database.read(lambda t: t.rows("events/after", number=number, limit=limit))
        else:
            where: Row = {"number": number, "limit": limit, "project": project}
            rows = await self._database.read(lambda t: t.rows("events/after_in", **where))
        return [(row["number"], msgspec.convert(row, Event)) for row in rows]

    async def last(self) -> int:
        row = await self._database.read(lambda t: t.row("events/last"))
        return row["number"] if row else 0

    async def forget(self, before: int) -> int:
        return await self._database.write(lambda t: t.run("events/forget", before=before))


def _add_once(t: Transaction, batch: Batch, event: Event, quota: Quota, once: Once | None) -> Batch:
    made = made_before(t, batch.project, "batches", once)
    if made is not None:
        return _convert(t.row("batches/get", project=batch.project, id=made) or {})
    _require_room(t, batch.project, quota)
    input_file = t.row("files/get", project=batch.project, id=_input_file_id(t, batch), at=batch.created_at)
    batch = msgspec.structs.replace(batch, input_blob=input_file["blob"] if input_file else None)
    t.run("batches/add", **_values(batch))
    add_hooks(t, batch)
    _add_event(t, event)
    remember(t, batch.project, "batches", once, batch.id)
    return batch


def _input_file_id(t: Transaction, batch: Batch) -> str | None:
    """Which file a batch reads first: one that retries another has none of its own yet."""
    if batch.retry_of is None:
        return batch.input_file_id
    retried = t.row("batches/get", project=batch.project, id=batch.retry_of)
    return retried["input_file_id"] if retried else None


def _gathered(t: Transaction, id: BatchId, file: File) -> bool:
    if not t.run("batches/gathered", id=id, input_blob=file.blob):
        return False
    add_file(t, file, None)
    return True


def _add_event(t: Transaction, event: Event) -> None:
    t.run("events/add", **msgspec.structs.asdict(event))
    enqueue(t, event)


def _require_room(t: Transaction, project: ProjectId, quota: Quota) -> None:
    found = t.row("batches/count_unended", project=project)
    if found is not None and found["batches"] >= quota.batches:
        raise QuotaExceeded(
            f"The project's quota of {quota.batches} unfinished batches is used up.",
            remedy="Wait until one ends, or cancel one.",
            reason="insufficient_quota",
        )


def _move(
    t: Transaction,
    before: BatchState,
    batch: Batch,
    event: Event,
    files: Sequence[File],
    room: TokenRoom,
    spent: Sequence[Spent],
) -> bool:
    stored = t.row("batches/get", project=batch.project, id=batch.id)
    if stored is None or stored["state"] != before:
        return False
    if batch.state.terminal:
        batch = msgspec.structs.replace(batch, enqueued_tokens=0)
    else:
        require_token_room(t, batch, stored["enqueued_tokens"], room)
    for file in files:
        add_file(t, nameless_if_taken(t, file), None)  # a name must not keep a batch from its end
    t.run("batches/move", before=before, ended=batch.state.terminal, **_values(batch))
    for each in spent:
        add_spent(t, each)
    _add_event(t, event)
    return True


def _values(batch: Batch) -> Row:
    values = msgspec.structs.asdict(batch)
    return values | {name: None if values[name] is None else _json(values[name]) for name in _JSON}


def _convert(row: Row) -> Batch:
    read = {name: None if row[name] is None else msgspec.json.decode(row[name]) for name in _JSON}
    return msgspec.convert(row | read | {"inline": bool(row["inline"])}, Batch)


def _batch(row: Row | None) -> Batch | None:
    return _convert(row) if row else None


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
