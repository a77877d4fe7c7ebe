"""The rooms of a server, put together on a store and blobs: the only place that knows which service needs what."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

from msgspec import Struct

from batchyard.blobs.local import LocalBlobs
from batchyard.clock import Clock
from batchyard.config import DispatchSettings
from batchyard.disk import Disk
from batchyard.domain.access import ProjectId, Quota
from batchyard.offload import Offload
from batchyard.pipeline.batch_walk import tidy
from batchyard.pipeline.calendar import Calendar, CalendarSettings
from batchyard.pipeline.notice import NoticedStore
from batchyard.server.house import House, Limits
from batchyard.server.interactive import Interactive
from batchyard.server.models import Models
from batchyard.service.access import Access
from batchyard.service.batches import Batches
from batchyard.service.files import Files
from batchyard.service.ids import Ids
from batchyard.service.retry import Retries
from batchyard.service.rules import BatchRules, FileRules, QuotaOf, UploadRules
from batchyard.service.sweep import Sweep
from batchyard.service.uploads import Uploads
from batchyard.store import Store
from batchyard.telemetry.metrics import Metrics
from batchyard.wiring.batches import BATCH_RULES, Engines, Yard, batch_parts, walk_in_a_thread

RUNS = "runs"


def same_quota(project: ProjectId) -> Quota:
    """Every project may keep the same."""
    return Quota()


class Ground(Struct, frozen=True, kw_only=True):
    """What a server stands on. `folder` is its data folder, `blob_steps` where the blobs' disk is worked."""

    store: Store
    blobs: LocalBlobs
    disk: Disk
    blob_steps: Offload
    clock: Clock
    random: Random
    folder: str


class HouseSettings(Struct, frozen=True, kw_only=True):
    """What the rooms are told."""

    quota_of: QuotaOf = same_quota
    file_rules: FileRules = FileRules()
    upload_rules: UploadRules = UploadRules()
    batch_rules: BatchRules = BATCH_RULES
    limits: Limits = Limits()
    calendar: CalendarSettings = CalendarSettings()
    dispatch: DispatchSettings = DispatchSettings()
    count_seconds: float = 1.0


class Rooms(Struct, frozen=True, kw_only=True):
    """What one server consists of. `duties` run beside the doors until they are cancelled."""

    house: House
    store: Store
    sweep: Sweep
    engines: Engines
    calendar: Calendar
    tidy: Callable[[], Awaitable[None]]
    duties: tuple[Callable[[], Awaitable[None]], ...] = ()


def build_rooms(ground: Ground, settings: HouseSettings, *, ready: str | None = None) -> Rooms:
    """All rooms, without models: those come as their engines start. `ready` is why no work is taken yet."""
    store, clock, ids = ground.store, ground.clock, Ids(ground.random)
    metrics, models, engines = Metrics(), Models(), Engines()
    parts = batch_parts(
        Yard(
            store=store,
            blobs=ground.blobs,
            disk=ground.disk,
            clock=clock,
            ids=ids,
            random=ground.random,
            models=models,
            engines=engines,
            quota_of=settings.quota_of,
            folder=f"{ground.folder}/{RUNS}",
            dispatch=settings.dispatch,
            count_seconds=settings.count_seconds,
        )
    )
    calendar = Calendar(store, clock, partial(walk_in_a_thread, parts), settings.calendar)
    noticed = NoticedStore(store, calendar.notice)
    files = Files(store, ground.blobs, clock, ids, settings.quota_of, settings.file_rules)
    uploads = Uploads(store, ground.blobs, clock, ids, settings.quota_of, settings.upload_rules, settings.file_rules)
    house = House(
        access=Access(store, clock, ids),
        files=files,
        uploads=uploads,
        batches=Batches(noticed, clock, ids, settings.quota_of, settings.batch_rules),
        retries=Retries(noticed, clock, ids, settings.quota_of, settings.batch_rules),
        models=models,
        interactive=Interactive(metrics, timeout_seconds=settings.dispatch.request_timeout_seconds),
        metrics=metrics,
        ids=ground.random,
        clock=clock,
        limits=settings.limits,
        ready=ready,
    )
    return Rooms(
        house=house,
        store=store,
        sweep=Sweep(store, ground.blobs, clock),
        engines=engines,
        calendar=calendar,
        tidy=lambda: tidy(parts, ground.blob_steps),
    )


async def run_duties(rooms: Rooms) -> None:
    """Everything that goes on beside the doors, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for duty in rooms.duties:
            group.create_task(_run(duty))


async def _run(duty: Callable[[], Awaitable[None]]) -> None:
    await duty()
