"""One server, put together: its data folder, its services, its engines and its doors."""

import asyncio
import gc
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from math import ceil
from pathlib import Path

from msgspec import structs

from batchyard.blobs import local
from batchyard.clock import SystemClock
from batchyard.config import DispatchSettings
from batchyard.disks.local import LocalDisk
from batchyard.disks.lock import FolderLock
from batchyard.domain.access import HOME
from batchyard.domain.errors import BatchyardError, Forbidden
from batchyard.offload import Lanes, ThreadOffload
from batchyard.pipeline.calendar import Calendar, CalendarSettings
from batchyard.server.app import build_app
from batchyard.server.house import House, Limits
from batchyard.server.listen import bind, serve
from batchyard.server.options import ServeOptions, check, is_loopback
from batchyard.service.access import Access
from batchyard.service.rules import FileRules, UploadRules, WhenFull
from batchyard.service.sweep import Sweep
from batchyard.store import Store
from batchyard.stores import sqlite
from batchyard.wiring import process
from batchyard.wiring.batches import BATCH_RULES, LANES
from batchyard.wiring.house import Ground, HouseSettings, Rooms, build_rooms, run_duties
from batchyard.wiring.quotas import Quotas
from batchyard.wiring.secret import write_secret
from batchyard.wiring.served import Served
from batchyard.wiring.webhooks import WebhookSettings

STARTING = "no model has started yet"
STOPPING = "the server is stopping"
KEY_FILE = "admin.key"
SWEEP_SECONDS = 60.0
STREAMS = 6
"""How many files are hashed, written or read at the same moment; more of them take turns."""
STREAM_NICENESS = 5
"""Whoever asks how a batch is goes before the bytes of files."""

Say = Callable[[str], None]
_log = logging.getLogger(__name__)


async def run_server(options: ServeOptions, stop: asyncio.Event, say: Say) -> None:
    """Serve until `stop` is set and calls under way have ended. Raises the errors of `domain.errors`.

    `say` gets the lines that a person at the terminal needs: where it serves, the first key, when it is ready.
    """
    check(options)
    process.prepare()
    _make_private(options.data_folder)
    quotas = Quotas(options)
    with FolderLock(options.data_folder):
        async with _rooms(options, quotas) as rooms:
            await _first_key(options, rooms.house.access, rooms.store, say)
            await quotas.begin(rooms.house.access, say)
            await rooms.sweep.orphans()
            await rooms.tidy()
            await _open_doors(options, rooms, quotas, stop, say)


@asynccontextmanager
async def _rooms(options: ServeOptions, quotas: Quotas) -> AsyncGenerator[Rooms]:
    """The services on the data folder; everything is given back at the end."""
    async with AsyncExitStack() as stack:
        fact_steps, blob_steps = ThreadOffload("facts"), ThreadOffload("bytes")
        stack.callback(fact_steps.close)
        stack.callback(blob_steps.close)
        lanes = Lanes(LANES, "walk")
        stack.callback(lanes.close)
        store = await sqlite.open(sqlite.Config(path=f"{options.data_folder}/facts.db"), fact_steps)
        stack.push_async_callback(store.close)
        streams = Lanes(STREAMS, "bytes", STREAM_NICENESS)
        stack.callback(streams.close)
        blobs = local.Config(folder=f"{options.data_folder}/blobs")
        ground = Ground(
            store=store,
            blobs=await local.open(blobs, LocalDisk(), blob_steps, lanes=streams),
            disk=LocalDisk(),
            blob_steps=blob_steps,
            lanes=lanes,
            clock=SystemClock(),
            random=random.SystemRandom(),
            folder=options.data_folder,
        )
        rooms = build_rooms(ground, _house_settings(options, quotas), ready=STARTING)
        stack.push_async_callback(rooms.close)
        yield rooms


def _house_settings(options: ServeOptions, quotas: Quotas) -> HouseSettings:
    batches = options.batches
    return HouseSettings(
        quota_of=quotas.of,
        file_rules=FileRules(
            require_jsonl_name=batches.require_jsonl_name,
            default_expiry_seconds=options.file_seconds,
            gemini_expiry_seconds=options.gemini_file_seconds,
        ),
        upload_rules=UploadRules(lifetime_seconds=options.upload_seconds),
        batch_rules=structs.replace(
            BATCH_RULES,
            windows={**BATCH_RULES.windows, **options.windows},
            refuse_missing_input=batches.refuse_missing_input,
            azure_expires=batches.azure_expires,
            when_full=WhenFull(batches.when_full),
            default_expiry_seconds=options.file_seconds,
            model_window_seconds=int(batches.model_window_seconds),
        ),
        limits=Limits(inference_bytes=options.request_bytes, inline_bytes=batches.inline_bytes),
        dispatch=DispatchSettings(request_timeout_seconds=options.request_timeout_seconds, retries=batches.retries),
        calendar=CalendarSettings(at_once=process.walks_at_once(batches.at_once), halt_seconds=options.grace_seconds),
        several_models=batches.several_models,
        files_at_once=batches.files_at_once,
        keys=options.keys,
        behind_proxy=options.behind_proxy,
        webhooks=WebhookSettings(allow_private=options.webhook_allow_private),
        images=options.images,
    )


def _make_private(folder: str) -> None:
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)


async def _first_key(options: ServeOptions, access: Access, store: Store, say: Say) -> None:
    """Make the first key where there is none; but never while strangers could be the first to use the server."""
    if not options.keys:
        say("Without keys: every program on this machine acts as the server's administrator.")
    if not is_loopback(options.host) and not await store.keys.list(HOME):
        raise Forbidden(
            f"This server has no keys yet, so it does not listen on {options.host}.",
            remedy="Start it once on 127.0.0.1: that makes the first key.",
        )
    made = await access.first_admin_key()
    if made is None:
        return
    path = f"{options.data_folder}/{KEY_FILE}"
    write_secret(path, made[1])
    say(f"Administrator's key, shown this once and kept in {path}: {made[1]}")


async def _open_doors(options: ServeOptions, rooms: Rooms, quotas: Quotas, stop: asyncio.Event, say: Say) -> None:
    """Listen at once, so that supervisors see the server start; take work when one of its models is ready.

    At a stop, calls and batches have the same time to bring to an end what is under way.
    """
    served = Served(options, rooms, say)
    sock = bind(options.host, options.port)
    host, port = sock.getsockname()[:2]
    say(f"Listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        async with asyncio.TaskGroup() as group:
            duties = [
                group.create_task(served.start()),
                group.create_task(_take_work(served, rooms.house)),
                group.create_task(_keep_swept(rooms.sweep)),
                group.create_task(quotas.keep(rooms.house.access)),
                group.create_task(run_duties(rooms)),
                group.create_task(_announce_stop(rooms.house, stop)),
            ]
            group.create_task(_walk_batches(served, rooms.calendar, stop))
            await serve(build_app(rooms.house), sock, stop, grace_seconds=ceil(options.grace_seconds))
            for duty in duties:
                duty.cancel()
    finally:
        await served.close()


async def _take_work(served: Served, house: House) -> None:
    """From the first model on the server takes work, unless it has been asked to stop meanwhile."""
    await served.began.wait()
    gc.freeze()  # what is here now stays: looking through it again and again would hold calls up
    if house.ready == STARTING:
        house.ready = None
        house.metrics.ready.set(1)


async def _walk_batches(served: Served, calendar: Calendar, stop: asyncio.Event) -> None:
    """Walk batches until every walk has left after a stop: from the moment that one of the engines has started, but
    those that only end at once."""
    calendar.wait_for_engines()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_say_when_begun(served, calendar))
        await calendar.run(stop)
        waiting.cancel()


async def _say_when_begun(served: Served, calendar: Calendar) -> None:
    await served.began.wait()
    calendar.engines_have_come()


async def _keep_swept(sweep: Sweep) -> None:
    """Give back the room of what is gone, now and then, for as long as the server runs."""
    while True:
        try:
            await sweep.run_once()
        except BatchyardError as error:
            _log.warning("sweep_failed", extra={"reason": str(error)})
        await asyncio.sleep(SWEEP_SECONDS)


async def _announce_stop(house: House, stop: asyncio.Event) -> None:
    """From the first moment of a stop, balancers learn of it and no new work is taken."""
    await stop.wait()
    house.ready = STOPPING
    house.metrics.ready.set(0)
    house.feed.close()
