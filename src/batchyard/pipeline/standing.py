"""Where the batch of one walk stands, as the store has it; every move of a walk, and every count, goes through here."""

import asyncio
from collections.abc import Awaitable, Sequence

from msgspec import structs

from batchyard.domain.batch import Batch, BatchState, Counts
from batchyard.domain.event import arrival
from batchyard.domain.file import File
from batchyard.domain.price import Spent
from batchyard.domain.result import Usage
from batchyard.pipeline.batch_parts import BatchParts
from batchyard.store import TokenRoom

_ANY_ROOM = TokenRoom()


class Standing:
    """See the module. `batch` is what the store was last seen to have; `model` its one model, None: several, or not
    known yet."""

    def __init__(self, batch: Batch, parts: BatchParts) -> None:
        self.batch = batch
        self.model = batch.model
        self._parts = parts

    @property
    def now(self) -> int:
        return int(self._parts.clock.now())

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        return self.batch.deadline_at is not None and self._parts.clock.now() >= self.batch.deadline_at

    async def look(self) -> None:
        """See what the store has."""
        batch = await self._parts.store.batches.get(self.batch.project, self.batch.id)
        assert batch is not None, "the rows of batches stay"
        self.batch = batch
        self.model = self.model or batch.model

    async def move(self, to: BatchState, *, room: TokenRoom = _ANY_ROOM, **facts: object) -> bool:
        """Bring the batch to its next state; False where somebody else moved it first: it then stands where that is."""
        return await self.moved(self.batch, self.after(self.batch, to, **facts), room=room)

    async def moved(
        self, before: Batch, after: Batch, *files: File, room: TokenRoom = _ANY_ROOM, spent: Sequence[Spent] = ()
    ) -> bool:
        """As `move`, with the files that appear in the same moment, and what the batch has used."""
        moved = await self.write_move(before, after, *files, room=room, spent=spent)
        if moved:  # meanwhile it may have been counted
            self.batch = structs.replace(after, counts=self.batch.counts, usage=self.batch.usage)
        else:
            await self.look()
        return moved

    async def write_move(
        self, before: Batch, after: Batch, *files: File, room: TokenRoom = _ANY_ROOM, spent: Sequence[Spent] = ()
    ) -> bool:
        """Write a move without looking at what became of it."""
        event = arrival(self._parts.new_event_id(), after)
        moved = await self._parts.store.batches.move(before.state, after, event, files, room, spent)
        if moved:
            self._parts.moved(after)
        return moved

    async def count(self, counts: Counts, usage: Usage) -> None:
        """Write how far the batch is, where that is news."""
        before = self.batch
        if (counts, usage) == (before.counts, before.usage):
            return
        if await self._parts.store.batches.count(before.id, counts, usage):
            self.batch = structs.replace(self.batch, counts=counts, usage=usage)
            self._parts.counted(before, self.batch)

    async def count_lines(self, lines: int) -> None:
        """Write how many lines it has."""
        await self.count(structs.replace(self.batch.counts, total=lines), self.batch.usage)

    def after(self, before: Batch, to: BatchState, **facts: object) -> Batch:
        """A batch in its next state."""
        return structs.replace(before.move(to, self.now), model=self.model, **facts)


async def side_by_side(*steps: Awaitable[object]) -> None:
    """Begin calls of the store in this order, without waiting for each, so that they may share a commit."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(_done(step))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _done(step: Awaitable[object]) -> None:
    await step
