"""One run of the runner, put together: its places, its parts, the walk, and the way of the output to where it goes."""

import secrets
from random import Random

from batchyard.clock import SystemClock
from batchyard.config import RunOptions
from batchyard.disks.local import LocalDisk
from batchyard.disks.lock import FolderLock
from batchyard.domain.errors import BadLines
from batchyard.endpoints.embeddings import GROUPED
from batchyard.journals.disk import open_journal
from batchyard.offload import Offload, ThreadOffload
from batchyard.pipeline.deliver import deliver
from batchyard.pipeline.fetch import Progress
from batchyard.pipeline.inline import Inlining
from batchyard.pipeline.manifest import InputFacts
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.walk import Ending, Parts, Run, walk
from batchyard.wiring import places
from batchyard.wiring.dialect import dialect_of
from batchyard.wiring.engine import engine_of
from batchyard.wiring.pictures import pictures_of
from batchyard.wiring.places import Places


async def run_batch(options: RunOptions, tally: Tally, stop: Stop) -> Ending:
    """Run a batch from its input to its output, resuming what an earlier run of the same command left.

    Raises the errors of `domain.errors`; what was answered until then is safe in the run's folder. Raises Stopped where
    it was stopped while fetching or delivering.
    """
    offload = ThreadOffload()
    try:
        if places.needs_reading_first(options):
            tally.stage = "fetching"
            given, where = await offload(lambda: places.bring_stream(options, LocalDisk(), stop, _progress(tally)))
            return await _run_there(options, where, given, offload, tally, stop)
        return await _run_there(options, places.places_of(options), None, offload, tally, stop)
    finally:
        offload.close()


async def _run_there(
    options: RunOptions, where: Places, given: InputFacts | None, offload: Offload, tally: Tally, stop: Stop
) -> Ending:
    with FolderLock(where.folder):
        if options.fresh and given is None:
            await offload(lambda: places.tidy(where.folder, keep=places.LOCK))
        if given is None:
            tally.stage = "fetching"
            given = await offload(lambda: places.bring_input(options, where.folder, stop, _progress(tally)))
        try:
            ending = await _walk(options, where, given, offload, tally, stop)
        except BadLines:
            places.tidy(where.folder)  # nothing ran, so nothing is left
            raise
        if ending.complete:
            tally.stage = "delivering"
            await offload(lambda: _deliver(options, where, stop))
            places.tidy(where.folder, keep=() if places.is_elsewhere(options.output) else places.FINISHED)
    return ending


async def _walk(
    options: RunOptions, where: Places, given: InputFacts, offload: Offload, tally: Tally, stop: Stop
) -> Ending:
    chosen = engine_of(options, where.folder)
    run = Run(
        input=given,
        folder=where.folder,
        output=where.output,
        errors=where.errors,
        settings={**chosen.settings, "compat": options.compat, "bad lines": options.on_invalid_line},
        order=options.order,
        on_invalid_line=options.on_invalid_line,
        dedupe=options.dedupe,
        max_line_bytes=options.max_line_bytes,
        dispatch=options.dispatch,
        largest_group=options.embeddings_per_call,
    )
    disk = LocalDisk()
    parts = Parts(
        disk=disk,
        offload=offload,
        clock=SystemClock(),
        dialect=dialect_of(options, chosen.names),
        journal=lambda folder, lines: open_journal(disk, offload, folder, lines),
        engine=Inlining(chosen.engine, pictures_of(options.image_settings), chosen.manner),
        random=Random(),
        new_run_id=lambda: secrets.token_hex(16),
        grouping=GROUPED,
    )
    try:
        return await walk(run, parts, tally, stop)
    finally:
        await chosen.engine.close()


def _progress(tally: Tally) -> Progress:
    def on_progress(done: int, total: int | None) -> None:
        tally.bytes_read, tally.bytes_total = done, total or 0

    return on_progress


def _deliver(options: RunOptions, where: Places, stop: Stop) -> None:
    """Bring what the walk wrote to where it was asked; a rerun after a failed delivery only delivers."""
    if places.is_elsewhere(options.output):
        deliver(where.output, options.output, should_stop=stop.now.is_set)
    if options.errors is not None and where.errors is not None and places.is_elsewhere(options.errors):
        deliver(where.errors, options.errors, should_stop=stop.now.is_set)
