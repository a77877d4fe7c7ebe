"""The whole service in a small house: a store in memory, a disk that can fail, a clock that tests move."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random

from batchyard.blobs import local
from batchyard.disk import Disk
from batchyard.domain.access import Caller, ProjectId, Quota
from batchyard.domain.batch import Batch
from batchyard.domain.event import Event
from batchyard.domain.file import File
from batchyard.domain.line import LineError
from batchyard.domain.webhook import WebhookEndpoint
from batchyard.service.access import Access
from batchyard.service.batches import Batches
from batchyard.service.files import Files
from batchyard.service.ids import Ids
from batchyard.service.model_batches import Checked, ModelBatches
from batchyard.service.resumables import Resumables
from batchyard.service.retry import Retries
from batchyard.service.rules import BatchRules, FileRules, UploadRules
from batchyard.service.sweep import Sweep
from batchyard.service.uploads import Uploads
from batchyard.service.webhooks import WebhookRules, Webhooks
from batchyard.store import Store
from batchyard.stores import sqlite
from tests.simulation.disk import Faults, FaultyDisk
from tests.simulation.trace import Trace
from tests.support.tenants import OURS, THEIRS, US, FakeClock, TurnsOffload, a_project, pieces

_seeds = count(1)
FOLDER = "/data/blobs"
A_LINE = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[]}}\n'


@dataclass
class Rules:
    """What the server allows; tests change what they are about before the house is opened."""

    files: FileRules = field(default_factory=FileRules)
    uploads: UploadRules = field(default_factory=UploadRules)
    batches: BatchRules = field(default_factory=BatchRules)
    endpoints: int = 20
    quotas: Mapping[ProjectId, Quota] = field(default_factory=dict[ProjectId, Quota])

    async def check_lines(self, batch: Batch, lines: bytes) -> Checked:
        """Lines that say `bad` are."""
        kept = lines.splitlines()
        bad = [number for number, line in enumerate(kept, 1) if b"bad" in line]
        faults = [LineError(number=number, code="bad", message="It is bad.") for number in bad]
        return Checked(len(kept), faults, len(faults))

    def quota_of(self, project: ProjectId) -> Quota:
        return self.quotas.get(project, Quota())


@dataclass
class House:
    """Everything that a door needs, for two projects."""

    store: Store
    blobs: local.LocalBlobs
    disk: Disk
    clock: FakeClock
    access: Access
    files: Files
    uploads: Uploads
    batches: Batches
    model_batches: ModelBatches
    retries: Retries
    resumables: Resumables
    webhooks: Webhooks
    sweep: Sweep

    async def a_file(self, data: bytes = A_LINE, caller: Caller = US, purpose: str = "batch") -> File:
        return await self.files.upload(caller, "in.jsonl", purpose, pieces(data))

    async def bytes_of(self, id: str, caller: Caller = US, start: int = 0, end: int | None = None) -> bytes:
        content = await self.files.content(caller, id)
        return b"".join([chunk async for chunk in content.read(start, end)])

    async def blobs_kept(self) -> int:
        return len(await self.blobs.keys("files")) + len(await self.blobs.keys("parts"))


def a_disk(faults: Faults | None = None, seed: int = 1) -> FaultyDisk:
    disk = FaultyDisk(Random(seed), Trace(), Faults())
    disk.make_folder("/data")
    disk.sync_folder("/")
    return disk.kill(faults or Faults())


async def anywhere(url: str) -> None:
    """Every URL may be delivered to."""


async def taken(endpoint: WebhookEndpoint, event: Event) -> int:
    """Every endpoint takes every event."""
    return 200


async def open_house(
    rules: Rules | None = None, disk: Disk | None = None, path: str = ":memory:", clock: FakeClock | None = None
) -> House:
    """A house with our project and theirs."""
    rules, disk, clock = rules or Rules(), disk or a_disk(), clock or FakeClock()
    store = await sqlite.open(sqlite.Config(path=path), TurnsOffload())
    if not await store.projects.list():
        for project in (OURS, THEIRS):
            await store.projects.add(a_project(project))
    blobs = await local.open(local.Config(folder=FOLDER), disk, TurnsOffload())
    ids = Ids(Random(next(_seeds)))
    batches = Batches(store, blobs, clock, ids, rules.quota_of, rules.batches)
    return House(
        store,
        blobs,
        disk,
        clock,
        Access(store, clock, ids),
        Files(store, blobs, clock, ids, rules.quota_of, rules.files),
        Uploads(store, blobs, clock, ids, rules.quota_of, rules.uploads, rules.files),
        batches,
        ModelBatches(store, blobs, clock, ids, rules.quota_of, rules.batches, batches, rules.check_lines),
        Retries(store, clock, ids, rules.quota_of, rules.batches),
        Resumables(store, blobs, clock, ids, rules.quota_of, rules.uploads, rules.files),
        Webhooks(store, clock, ids, anywhere, taken, WebhookRules(endpoints=rules.endpoints)),
        Sweep(store, blobs, clock),
    )
