"""Something that happened to a batch, written in the same transaction as the change."""

from typing import NewType

from msgspec import Struct

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchId

EventId = NewType("EventId", str)


class Event(Struct, frozen=True, kw_only=True):
    """A batch came into a state. `kind` is `batch.` and the state's name; `at` is that state's time."""

    id: EventId
    project: ProjectId
    kind: str
    batch_id: BatchId
    at: int


def arrival(id: EventId, batch: Batch) -> Event:
    """The event of a batch being in the state that it is in."""
    return Event(id=id, project=batch.project, kind=f"batch.{batch.state}", batch_id=batch.id, at=batch.moved_at)
