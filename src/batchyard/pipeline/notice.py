"""Lets the calendar know at once what a caller has asked for: a store's batches that tell of every change."""

import logging
from collections.abc import Callable, Sequence

from msgspec.structs import asdict

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.batch import Batch, BatchId, BatchState, Counts
from batchyard.domain.event import Event
from batchyard.domain.file import File
from batchyard.domain.price import Spent
from batchyard.domain.result import Usage
from batchyard.store import (
    Batches,
    BatchFilter,
    Cursor,
    Events,
    Files,
    Keys,
    Once,
    Page,
    Projects,
    Resumables,
    Retried,
    Spending,
    Store,
    TokenRoom,
    Uploads,
    Webhooks,
)

Notice = Callable[[Batch], None]
_log = logging.getLogger(__name__)


def log_move(batch: Batch) -> None:
    """Say that a batch came into a state; of its end, what came of it."""
    fields: dict[str, object] = {"batch_id": batch.id, "project": batch.project, "key_id": batch.key_id}
    fields |= {"model": batch.model, "endpoint": batch.endpoint}
    if batch.state.terminal:
        fields |= {f"lines_{name}": count for name, count in asdict(batch.counts).items()}
        fields |= {"input_tokens": batch.usage.input_tokens, "output_tokens": batch.usage.output_tokens}
        fields |= {"seconds": batch.moved_at - batch.created_at}
    name = "batch_created" if batch.state is BatchState.VALIDATING else f"batch_{batch.state}"
    _log.info(name, extra=fields)


class NoticedStore:
    """A store for services: whatever they do to a batch is noticed once it is durable."""

    def __init__(self, store: Store, notice: Notice) -> None:
        self._store = store
        self._batches = NoticedBatches(store.batches, notice)

    @property
    def projects(self) -> Projects:
        return self._store.projects

    @property
    def keys(self) -> Keys:
        return self._store.keys

    @property
    def files(self) -> Files:
        return self._store.files

    @property
    def uploads(self) -> Uploads:
        return self._store.uploads

    @property
    def resumables(self) -> Resumables:
        return self._store.resumables

    @property
    def batches(self) -> Batches:
        return self._batches

    @property
    def events(self) -> Events:
        return self._store.events

    @property
    def spending(self) -> Spending:
        return self._store.spending

    @property
    def webhooks(self) -> Webhooks:
        return self._store.webhooks

    async def close(self) -> None:
        await self._store.close()


class NoticedBatches:
    """See the module. What is only read passes through."""

    def __init__(self, batches: Batches, notice: Notice) -> None:
        self._batches = batches
        self._notice = notice

    async def add(self, batch: Batch, event: Event, quota: Quota, once: Once | None = None) -> Batch:
        added = await self._batches.add(batch, event, quota, once)
        if added.id == batch.id:  # otherwise an earlier call made it
            self._notice(added)
        return added

    async def get(self, project: ProjectId, id: BatchId) -> Batch | None:
        return await self._batches.get(project, id)

    async def delete(self, project: ProjectId, id: BatchId, at: int) -> Batch | None:
        return await self._batches.delete(project, id, at)

    async def describe(self, project: ProjectId, id: BatchId, display_name: str | None, priority: int) -> Batch | None:
        described = await self._batches.describe(project, id, display_name, priority)
        if described is not None:
            self._notice(described)
        return described

    async def list(
        self,
        project: ProjectId,
        cursor: Cursor,
        where: BatchFilter = BatchFilter(),  # noqa: B008 - frozen
    ) -> Page[Batch] | None:
        return await self._batches.list(project, cursor, where)

    async def unended(self) -> Sequence[Batch]:
        return await self._batches.unended()

    async def enqueued(self, project: ProjectId) -> int:
        return await self._batches.enqueued(project)

    async def move(
        self,
        before: BatchState,
        batch: Batch,
        event: Event,
        files: Sequence[File] = (),
        room: TokenRoom = TokenRoom(),  # noqa: B008 - frozen
        spent: Sequence[Spent] = (),
    ) -> bool:
        moved = await self._batches.move(before, batch, event, files, room, spent)
        if moved:
            self._notice(batch)
        return moved

    async def retried(self, id: BatchId) -> Retried | None:
        return await self._batches.retried(id)

    async def gathered(self, id: BatchId, file: File) -> bool:
        return await self._batches.gathered(id, file)

    async def count(self, id: BatchId, counts: Counts, usage: Usage) -> bool:
        return await self._batches.count(id, counts, usage)
