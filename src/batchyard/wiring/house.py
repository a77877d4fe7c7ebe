"""The rooms of a server, put together on a store and blobs: the only place that knows which service needs what."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import msgspec
from msgspec import Struct

from batchyard.blobs.local import LocalBlobs
from batchyard.clock import Clock
from batchyard.config import DispatchSettings, ImageSettings
from batchyard.dialects.openai.objects import event_object
from batchyard.disk import Disk
from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.batch import Batch
from batchyard.domain.event import Event
from batchyard.offload import Lanes, Offload
from batchyard.pipeline.batch_walk import tidy
from batchyard.pipeline.calendar import Calendar, CalendarSettings
from batchyard.pipeline.examine import Examinations
from batchyard.pipeline.heavy import InThreads
from batchyard.pipeline.notice import NoticedStore, log_move
from batchyard.pipeline.notify import Notify
from batchyard.pipeline.parking import Parking
from batchyard.pipeline.pictures import Pictures
from batchyard.pipeline.underway import Underway
from batchyard.server.house import House, Limits
from batchyard.server.interactive import Interactive
from batchyard.server.models import Models
from batchyard.server.tolls import Tolls
from batchyard.service.access import Access
from batchyard.service.batches import Batches
from batchyard.service.feed import Feed
from batchyard.service.files import Files
from batchyard.service.ids import Ids
from batchyard.service.model_batches import ModelBatches
from batchyard.service.results import Results
from batchyard.service.resumables import Resumables
from batchyard.service.retry import Retries
from batchyard.service.rules import BatchRules, FileRules, QuotaOf, UploadRules
from batchyard.service.spending import Spending
from batchyard.service.sweep import Sweep
from batchyard.service.uploads import Uploads
from batchyard.service.webhooks import Webhooks
from batchyard.store import Store
from batchyard.telemetry.metrics import Metrics
from batchyard.wiring.batches import (
    BATCH_RULES,
    HEAVY_AT_ONCE,
    Engines,
    Yard,
    batch_parts,
    guess_terms,
    walk_in_a_lane,
)
from batchyard.wiring.heavy.steps import HEAVY_BYTES, InProcesses
from batchyard.wiring.lines import checked
from batchyard.wiring.measures import Measures
from batchyard.wiring.pictures import pictures_of, shelf_of
from batchyard.wiring.secret import HOOK_FILE, signing_secret
from batchyard.wiring.webhooks import Courier, WebhookSettings

RUNS = "runs"
EXAMINED = "examined"


def same_quota(project: ProjectId) -> Quota:
    """Every project may keep the same."""
    return Quota()


class Ground(Struct, frozen=True, kw_only=True):
    """What a server stands on.

    `folder` is its data folder, `blob_steps` where the blobs' disk is worked, `lanes` where walks work theirs.
    """

    store: Store
    blobs: LocalBlobs
    disk: Disk
    blob_steps: Offload
    lanes: Lanes
    clock: Clock
    random: Random
    folder: str


class HouseSettings(Struct, frozen=True, kw_only=True):
    """What the rooms are told. Steps of inputs from `heavy_bytes` on go to processes of their own, `files_at_once` at a
    time. Without `keys` every caller is the operator. For `behind_proxy` see `House`."""

    quota_of: QuotaOf = same_quota
    file_rules: FileRules = FileRules()
    upload_rules: UploadRules = UploadRules()
    batch_rules: BatchRules = BATCH_RULES
    limits: Limits = Limits()
    calendar: CalendarSettings = CalendarSettings()
    dispatch: DispatchSettings = DispatchSettings()
    count_seconds: float = 1.0
    several_models: bool = False
    files_at_once: int = HEAVY_AT_ONCE
    keys: bool = True
    behind_proxy: bool = False
    heavy_bytes: int = HEAVY_BYTES
    webhooks: WebhookSettings = WebhookSettings()
    images: ImageSettings = ImageSettings()


class Rooms(Struct, frozen=True, kw_only=True):
    """What one server consists of. `duties` run beside the doors until they are cancelled; `close` comes last."""

    house: House
    store: Store
    sweep: Sweep
    engines: Engines
    calendar: Calendar
    parking: Parking
    pictures: Pictures
    tidy: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    duties: tuple[Callable[[], Awaitable[None]], ...] = ()


def build_rooms(ground: Ground, settings: HouseSettings, *, ready: str | None = None) -> Rooms:
    """All rooms, without models: those come as their engines start. `ready` is why no work is taken yet."""
    store, clock, ids = ground.store, ground.clock, Ids(ground.random)
    metrics, models, engines, parking = Metrics(), Models(), Engines(), Parking()
    heavy = InProcesses(InThreads(ground.disk, settings.files_at_once), settings.files_at_once, settings.heavy_bytes)
    examinations = Examinations(
        ground.disk,
        ground.blob_steps,
        f"{ground.folder}/{EXAMINED}",
        heavy.examine,
        partial(guess_terms, models=models, several_models=settings.several_models),
        ground.blobs.path,
        settings.heavy_bytes,
    )
    underway, feed = Underway(ground.blob_steps), Feed(store, clock, _event_bytes)
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
            heavy=heavy,
            examined=examinations.take,
            steps=ground.blob_steps,
            underway=underway,
            moved=lambda batch: _moved(measures, feed, batch),
            counted=lambda before, after: _counted(measures, feed, before, after),
            retried=lambda model, retries: measures.retried(model, retries),
            on_commit=metrics.journal_seconds.observe,
            dispatch=settings.dispatch,
            count_seconds=settings.count_seconds,
            several_models=settings.several_models,
            files_at_once=settings.files_at_once,
            parking=parking,
            when_full=settings.batch_rules.when_full,
        )
    )
    calendar = Calendar(store, clock, partial(walk_in_a_lane, parts, ground.lanes), settings.calendar, parking)
    spending = Spending(store, clock)
    measures = Measures(metrics, clock, underway, lambda: calendar.waiting, lambda: engines.sharings)
    metrics.at_look.append(lambda: metrics.listeners.set(feed.listeners))
    noticed = NoticedStore(store, partial(_notice, calendar, measures, feed))
    files = Files(store, ground.blobs, clock, ids, settings.quota_of, settings.file_rules, examinations)
    uploads = Uploads(
        store,
        ground.blobs,
        clock,
        ids,
        settings.quota_of,
        settings.upload_rules,
        settings.file_rules,
        examinations,
    )
    resumables = Resumables(
        store, ground.blobs, clock, ids, settings.quota_of, settings.upload_rules, settings.file_rules
    )
    access = Access(store, clock, ids, keys=settings.keys)
    batches = Batches(noticed, ground.blobs, clock, ids, settings.quota_of, settings.batch_rules)
    apart = ground.lanes.lane()

    async def make_ready() -> None:
        await tidy(parts, ground.blob_steps)
        await examinations.clear()

    secret = signing_secret(f"{ground.folder}/{HOOK_FILE}", ids.webhook_secret)
    courier = Courier(settings.webhooks, clock, store.batches.get, secret)
    notify = Notify(store, clock, ground.random, courier.carry, settings.webhooks.notify)
    house = House(
        access=access,
        files=files,
        uploads=uploads,
        resumables=resumables,
        batches=batches,
        model_batches=ModelBatches(
            noticed,
            ground.blobs,
            clock,
            ids,
            settings.quota_of,
            settings.batch_rules,
            batches,
            lambda batch, data: apart(lambda: checked(parts.dialect(batch), data)),
            courier.check,
        ),
        retries=Retries(noticed, clock, ids, settings.quota_of, settings.batch_rules),
        results=Results(store, ground.blobs, clock, underway.portion),
        feed=feed,
        webhooks=Webhooks(store, clock, ids, courier.check, courier.carry, settings.webhooks.rules),
        models=models,
        interactive=Interactive(metrics, timeout_seconds=settings.dispatch.request_timeout_seconds),
        tolls=Tolls(settings.quota_of, spending),
        spending=spending,
        metrics=metrics,
        ids=ground.random,
        clock=clock,
        apart=apart,
        limits=settings.limits,
        ready=ready,
        behind_proxy=settings.behind_proxy,
    )
    return Rooms(
        house=house,
        store=store,
        sweep=Sweep(store, ground.blobs, clock),
        engines=engines,
        calendar=calendar,
        parking=parking,
        pictures=pictures_of(settings.images, shelf_of(store, ground.blobs, clock)),
        tidy=make_ready,
        close=heavy.close,
        duties=(
            spending.keep_flushed,
            feed.run,
            lambda: measures.begin(store),
            notify.run,
            access.keep_notes,
            examinations.run,
        ),
    )


def _notice(calendar: Calendar, measures: Measures, feed: Feed, batch: Batch) -> None:
    """A caller has added a batch or cancelled it."""
    calendar.notice(batch)
    _moved(measures, feed, batch)


def _moved(measures: Measures, feed: Feed, batch: Batch) -> None:
    """A batch came into a state."""
    log_move(batch)
    measures.moved(batch)
    feed.moved(batch)


def _counted(measures: Measures, feed: Feed, before: Batch, after: Batch) -> None:
    """Lines of a batch got results."""
    measures.counted(before, after)
    feed.counted(after)


def _event_bytes(kind: str, at: int, batch: Batch, event: Event | None) -> bytes:
    return msgspec.json.encode(event_object(kind, at, batch, event))


async def run_duties(rooms: Rooms) -> None:
    """Everything that goes on beside the doors, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for duty in rooms.duties:
            group.create_task(_run(duty))


async def _run(duty: Callable[[], Awaitable[None]]) -> None:
    await duty()
