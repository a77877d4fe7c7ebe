"""One server, put together: its data folder, its services, its engine and its doors."""

import asyncio
import logging
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from batchyard.blobs import local
from batchyard.clock import SystemClock
from batchyard.config import RunOptions
from batchyard.disks.local import LocalDisk
from batchyard.disks.lock import FolderLock
from batchyard.domain.access import HOME, ProjectId, Quota
from batchyard.domain.errors import BatchyardError, Forbidden
from batchyard.engine import Abilities
from batchyard.offload import ThreadOffload
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
from batchyard.wiring.engine import Chosen, engine_of

STARTING = "the model is loading"
STOPPING = "the server is stopping"
KEY_FILE = "admin.key"
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
        async with _rooms(options) as (house, store, sweep):
            await _first_key(options, house.access, store, say)
            await sweep.orphans()
            await _open_doors(options, house, sweep, stop, say)


@asynccontextmanager
async def _rooms(options: ServeOptions) -> AsyncGenerator[tuple[House, Store, Sweep]]:
    """The services on the data folder; everything is given back at the end."""
    async with AsyncExitStack() as stack:
        fact_steps, blob_steps = ThreadOffload("facts"), ThreadOffload("bytes")
        stack.callback(fact_steps.close)
        stack.callback(blob_steps.close)
        store = await sqlite.open(sqlite.Config(path=f"{options.data_folder}/facts.db"), fact_steps)
        stack.push_async_callback(store.close)
        blobs = await local.open(local.Config(folder=f"{options.data_folder}/blobs"), LocalDisk(), blob_steps)
        clock, metrics, source = SystemClock(), Metrics(), random.SystemRandom()
        ids = Ids(source)
        house = House(
            access=Access(store, clock, ids),
            files=Files(store, blobs, clock, ids, _quota_of),
            uploads=Uploads(store, blobs, clock, ids, _quota_of),
            batches=Batches(store, clock, ids, _quota_of),
            models=Models(),
            interactive=Interactive(metrics, timeout_seconds=options.request_timeout_seconds),
            metrics=metrics,
            ids=source,
            clock=clock,
            ready=STARTING,
        )
        yield house, store, Sweep(store, blobs, clock)


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


async def _open_doors(options: ServeOptions, house: House, sweep: Sweep, stop: asyncio.Event, say: Say) -> None:
    """Listen at once, so that supervisors see the server start; take work when the engine is ready."""
    chosen = engine_of(_run_options(options), options.data_folder)
    sock = bind(options.host, options.port)
    host, port = sock.getsockname()[:2]
    say(f"Listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        async with asyncio.TaskGroup() as group:
            duties = [
                group.create_task(_start_engine(options, chosen, house, say)),
                group.create_task(_keep_swept(sweep)),
                group.create_task(_announce_stop(house, stop)),
            ]
            await serve(build_app(house), sock, stop, grace_seconds=options.grace_seconds)
            for duty in duties:
                duty.cancel()
    finally:
        await chosen.engine.close()


async def _start_engine(options: ServeOptions, chosen: Chosen, house: House, say: Say) -> None:
    abilities = await chosen.engine.start()
    model = _model(options, chosen, abilities, int(house.clock.now()))
    house.models.add(model, aliases=chosen.names.known or ())
    if house.ready == STARTING:
        house.ready = None
        house.metrics.ready.set(1)
        say(f"Ready: {model.name} by {abilities.description}")


def _model(options: ServeOptions, chosen: Chosen, abilities: Abilities, at: int) -> Model:
    """A model of ours goes by its served name, everywhere; an upstream's goes by its own there."""
    return Model(
        name=_name(options),
        engine=chosen.engine,
        abilities=abilities,
        created=at,
        engine_name=options.model if options.upstreams else None,
    )


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
