"""One server, put together: its data folder, its services, its engine and its doors."""

import asyncio
import logging
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from batchyard.blobs import local
from batchyard.clock import SystemClock
from batchyard.config import DispatchSettings, RunOptions
from batchyard.disks.local import LocalDisk
from batchyard.disks.lock import FolderLock
from batchyard.domain.access import HOME, ProjectId, Quota
from batchyard.domain.errors import BatchyardError, Forbidden
from batchyard.offload import ThreadOffload
from batchyard.pipeline.batch_walk import tidy
from batchyard.pipeline.calendar import Calendar, CalendarSettings
from batchyard.pipeline.notice import NoticedStore
from batchyard.pipeline.share import Sharing
from batchyard.server.app import build_app
from batchyard.server.house import House
from batchyard.server.interactive import Interactive
from batchyard.server.listen import bind, serve
from batchyard.server.models import Model, Models
from batchyard.server.options import ServeOptions, check, is_loopback
from batchyard.service.access import Access
from batchyard.service.batches import Batches
from batchyard.service.files import Files
from batchyard.service.ids import Ids
from batchyard.service.sweep import Sweep
from batchyard.service.uploads import Uploads
from batchyard.store import Store
from batchyard.stores import sqlite
from batchyard.telemetry.metrics import Metrics
from batchyard.wiring.batches import BATCH_RULES, Engines, Yard, batch_parts, walk_in_a_thread
from batchyard.wiring.engine import Chosen, engine_of

STARTING = "the model is loading"
STOPPING = "the server is stopping"
KEY_FILE = "admin.key"
RUNS = "runs"
SWEEP_SECONDS = 60.0

Say = Callable[[str], None]
_log = logging.getLogger(__name__)


async def run_server(options: ServeOptions, stop: asyncio.Event, say: Say) -> None:
    """Serve until `stop` is set and calls under way have ended. Raises the errors of `domain.errors`.

    `say` gets the lines that a person at the terminal needs: where it serves, the first key, when it is ready.
    """
    check(options)
    _make_private(options.data_folder)
    with FolderLock(options.data_folder):
        async with _rooms(options) as rooms:
            await _first_key(options, rooms.house.access, rooms.store, say)
            await rooms.sweep.orphans()
            await rooms.tidy()
            await _open_doors(options, rooms, stop, say)


class _Rooms(Struct, frozen=True, kw_only=True):
    """What one server consists of."""

    house: House
    store: Store
    sweep: Sweep
    engines: Engines
    calendar: Calendar
    tidy: Callable[[], Awaitable[None]]


@asynccontextmanager
async def _rooms(options: ServeOptions) -> AsyncGenerator[_Rooms]:
    """The services on the data folder; everything is given back at the end."""
    async with AsyncExitStack() as stack:
        fact_steps, blob_steps = ThreadOffload("facts"), ThreadOffload("bytes")
        stack.callback(fact_steps.close)
        stack.callback(blob_steps.close)
        store = await sqlite.open(sqlite.Config(path=f"{options.data_folder}/facts.db"), fact_steps)
        stack.push_async_callback(store.close)
        blobs = await local.open(local.Config(folder=f"{options.data_folder}/blobs"), LocalDisk(), blob_steps)
        clock, metrics, source, models, engines = SystemClock(), Metrics(), random.SystemRandom(), Models(), Engines()
        ids = Ids(source)
        parts = batch_parts(
            Yard(
                store=store,
                blobs=blobs,
                disk=LocalDisk(),
                clock=clock,
                ids=ids,
                random=source,
                models=models,
                engines=engines,
                quota_of=_quota_of,
                folder=f"{options.data_folder}/{RUNS}",
                dispatch=DispatchSettings(request_timeout_seconds=options.request_timeout_seconds),
            )
        )
        settings = CalendarSettings(halt_seconds=options.grace_seconds)
        calendar = Calendar(store, clock, partial(walk_in_a_thread, parts), settings)
        house = House(
            access=Access(store, clock, ids),
            files=Files(store, blobs, clock, ids, _quota_of),
            uploads=Uploads(store, blobs, clock, ids, _quota_of),
            batches=Batches(NoticedStore(store, calendar.notice), clock, ids, _quota_of, BATCH_RULES),
            models=models,
            interactive=Interactive(metrics, timeout_seconds=options.request_timeout_seconds),
            metrics=metrics,
            ids=source,
            clock=clock,
            ready=STARTING,
        )
        yield _Rooms(
            house=house,
            store=store,
            sweep=Sweep(store, blobs, clock),
            engines=engines,
            calendar=calendar,
            tidy=lambda: tidy(parts, blob_steps),
        )


def _make_private(folder: str) -> None:
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)


def _quota_of(project: ProjectId) -> Quota:
    return Quota()


async def _first_key(options: ServeOptions, access: Access, store: Store, say: Say) -> None:
    """Make the first key where there is none; but never while strangers could be the first to use the server."""
    if not is_loopback(options.host) and not await store.keys.list(HOME):
        raise Forbidden(
            f"This server has no keys yet, so it does not listen on {options.host}.",
            remedy="Start it once on 127.0.0.1: that makes the first key.",
        )
    made = await access.first_admin_key()
    if made is None:
        return
    path = f"{options.data_folder}/{KEY_FILE}"
    _write_secret(path, made[1])
    say(f"Administrator's key, shown this once and kept in {path}: {made[1]}")


def _write_secret(path: str, secret: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    Path(path).unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(descriptor)


async def _open_doors(options: ServeOptions, rooms: _Rooms, stop: asyncio.Event, say: Say) -> None:
    """Listen at once, so that supervisors see the server start; take work when the engine is ready.

    At a stop, calls and batches have the same time to bring to an end what is under way.
    """
    chosen = engine_of(_run_options(options), options.data_folder)
    sock = bind(options.host, options.port)
    host, port = sock.getsockname()[:2]
    say(f"Listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_start_engine(options, chosen, rooms, say))
            duties = [
                starting,
                group.create_task(_keep_swept(rooms.sweep)),
                group.create_task(_announce_stop(rooms.house, stop)),
            ]
            group.create_task(_walk_batches(starting, rooms.calendar, stop))
            await serve(build_app(rooms.house), sock, stop, grace_seconds=options.grace_seconds)
            for duty in duties:
                duty.cancel()
    finally:
        await chosen.engine.close()


async def _start_engine(options: ServeOptions, chosen: Chosen, rooms: _Rooms, say: Say) -> None:
    """Start the engine, and let callers and batches share it."""
    house, abilities = rooms.house, await chosen.engine.start()
    sharing = Sharing(chosen.engine, abilities, house.clock, model=_engine_name(options) or _name(options))
    model = _model(options, sharing, int(house.clock.now()))
    rooms.engines.add(model.name, sharing)
    house.models.add(model, aliases=chosen.names.known or ())
    if house.ready == STARTING:
        house.ready = None
        house.metrics.ready.set(1)
        say(f"Ready: {model.name} by {abilities.description}")


async def _walk_batches(starting: asyncio.Task[None], calendar: Calendar, stop: asyncio.Event) -> None:
    """Walk batches from the moment that the engine has started, until every walk has left after a stop."""
    await asyncio.wait({starting})
    if not starting.cancelled() and starting.exception() is None:
        await calendar.run(stop)


def _model(options: ServeOptions, sharing: Sharing, at: int) -> Model:
    """A model of ours goes by its served name, everywhere; an upstream's goes by its own there."""
    return Model(
        name=_name(options),
        engine=sharing.front(),
        abilities=sharing.abilities,
        created=at,
        engine_name=_engine_name(options),
    )


def _engine_name(options: ServeOptions) -> str | None:
    return options.model if options.upstreams else None


def _name(options: ServeOptions) -> str:
    """What the model is called: as served, else an upstream's own name, else that of its file or folder."""
    if options.served_names:
        return options.served_names[0]
    model = options.model or options.engine
    path = Path(model)
    if options.upstreams or not path.exists():
        return model
    return path.stem if path.suffix == ".gguf" else path.resolve().name


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


def _run_options(options: ServeOptions) -> RunOptions:
    """The part of a run's options that chooses its engine."""
    return RunOptions(
        input="",
        output="",
        model=options.model,
        served_names=options.served_names,
        upstreams=options.upstreams,
        api_key_env=options.api_key_env,
        engine=options.engine,
        mmproj=options.mmproj,
        slots=options.slots,
        context_tokens=options.context_tokens,
        threads=options.threads,
        engine_start_seconds=options.engine_start_seconds,
    )
