"""What the batches of a server are walked with."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from msgspec import Struct

from batchyard.clock import Clock
from batchyard.config import MAX_LINE_BYTES, DispatchSettings
from batchyard.dialect import LineDialect
from batchyard.disk import Disk
from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch
from batchyard.domain.event import EventId
from batchyard.domain.price import Price
from batchyard.journal import Journal
from batchyard.offload import Offload
from batchyard.pipeline.backlog import Held
from batchyard.pipeline.beat import Beat
from batchyard.pipeline.examine import Taking, nothing_examined
from batchyard.pipeline.folder import Folders
from batchyard.pipeline.heavy import Heavy, Terms
from batchyard.pipeline.parking import Parking
from batchyard.pipeline.publish import Publisher
from batchyard.pipeline.share import Sharing
from batchyard.pipeline.underway import Underway
from batchyard.store import Store, TokenRoom

SMALL_BYTES = 256 << 10
"""An input of up to so many bytes is small: its plan is made again after a crash rather than kept on the disk, and
nothing about it is heavy."""


def ignore(*_: object) -> None:
    """Nobody wants to know."""


class BatchParts(Struct, frozen=True, kw_only=True):
    """What batches are walked with.

    `folder` holds a run folder for each batch, which `folders` makes. `journal` opens the one in a folder, for a number
    of lines, with the walk's own offload. `dialect` holds lines to their batch's `terms`. `model_of` says what a model
    that lines may name is called, `engine_of` who answers for it (raises Unavailable where nobody does now). `input_of`
    is where the bytes of a blob lie. `heavy` carries out what reads or writes whole files, `examined` hands over what
    was found out while an input arrived. `gathering` bounds how many retries are gathered at once, `held` what all
    walks hold in memory; `beat` lets them share syncs; up to `small_bytes` an input is small. `underway` shows the
    results so far to whoever looks. `moved` hears of every state that a walk brings a batch to, `counted` of new
    counts: the batch before and after; both are durable by then. `retried` hears how many requests of a model were
    asked again.

    `room_of` says how many enqueued tokens a project may have, and of a model (None: of several). Batches that find
    none are `parked`, or fail. `price_of` is what a model costs now.
    """

    store: Store
    disk: Disk
    clock: Clock
    folder: str
    folders: Folders
    publisher: Publisher
    journal: Callable[[Offload, str, int], Awaitable[Journal]]
    dialect: Callable[[Batch], LineDialect]
    model_of: Callable[[str], str]
    engine_of: Callable[[str], Sharing]
    input_of: Callable[[str], str | None]
    max_lines: Callable[[ProjectId], int]
    room_of: Callable[[ProjectId, str | None], TokenRoom]
    price_of: Callable[[str], Price | None]
    parking: Parking
    new_event_id: Callable[[], EventId]
    random: Random
    terms: Callable[[Batch], Terms]
    heavy: Heavy
    gathering: asyncio.Semaphore
    held: Held
    beat: Beat
    underway: Underway
    examined: Taking = nothing_examined
    small_bytes: int = SMALL_BYTES
    moved: Callable[[Batch], None] = ignore
    counted: Callable[[Batch, Batch], None] = ignore
    retried: Callable[[str, int], None] = ignore
    dispatch: DispatchSettings = DispatchSettings()
    max_line_bytes: int = MAX_LINE_BYTES
    dedupe: bool = True
    count_seconds: float = 1.0
    park: bool = True
