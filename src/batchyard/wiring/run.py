"""One run of the runner, put together: places, parts, the walk, and the way of the output to where it was asked."""

import hashlib
import os
import secrets
from pathlib import Path
from random import Random

from msgspec import Struct

from batchyard.clock import SystemClock
from batchyard.config import RunOptions
from batchyard.disks.local import LocalDisk
from batchyard.disks.lock import FolderLock
from batchyard.offload import Offload, ThreadOffload
from batchyard.pipeline.deliver import deliver
from batchyard.pipeline.fetch import fetch
from batchyard.pipeline.manifest import InputFacts
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.walk import Ending, Parts, Run, walk
from batchyard.wiring.dialect import dialect_of
from batchyard.wiring.engine import engine_of


class Places(Struct, frozen=True, kw_only=True):
    """Where a run writes. `output` and `errors` are local files; the final places are in the options."""

    folder: str
    staging: str
    output: str
    errors: str | None


async def run_batch(options: RunOptions, tally: Tally, stop: Stop) -> Ending:
    """Run a batch from its input to its output, resuming what an earlier run of the same command left.

    Raises the errors of `domain.errors`; what was answered until then is safe in the run's folder.
    """
    places = places_of(options)
    offload = ThreadOffload()
    try:
        with FolderLock(places.folder):
            if options.fresh:
                await offload(lambda: start_over(places.folder))
            ending = await _run(options, places, offload, tally, stop)
    finally:
        offload.close()
    if ending.complete and _is_elsewhere(options.output):
        tidy(places.folder)
    return ending


async def _run(options: RunOptions, places: Places, offload: Offload, tally: Tally, stop: Stop) -> Ending:
    tally.stage = "fetching"
    given = await offload(lambda: _fetched(options, places, tally, stop))
    chosen = engine_of(options, places.folder, tally)
    run = Run(
        input=given,
        folder=places.folder,
        output=places.output,
        errors=places.errors,
        settings={**chosen.settings, "compat": options.compat, "bad lines": options.on_invalid_line},
        order=options.order,
        on_invalid_line=options.on_invalid_line,
        dedupe=options.dedupe,
        max_line_bytes=options.max_line_bytes,
        dispatch=options.dispatch,
    )
    parts = Parts(
        disk=LocalDisk(),
        offload=offload,
        clock=SystemClock(),
        dialect=dialect_of(options, chosen.names),
        engine=chosen.engine,
        random=Random(),
        new_run_id=lambda: secrets.token_hex(16),
    )
    try:
        ending = await walk(run, parts, tally, stop)
    finally:
        await chosen.engine.close()
    if ending.complete:
        tally.stage = "delivering"
        await offload(lambda: _deliver(options, places, stop))
    return ending


def places_of(options: RunOptions) -> Places:
    """The run's folder stands beside an output file; for any other output it is found again by what is run."""
    folder = options.run_folder or _folder_of(options)
    staging = options.staging_folder or folder
    elsewhere = _is_elsewhere(options.output)
    errors = options.errors
    if errors is not None and _is_elsewhere(errors):
        errors = f"{staging}/errors.jsonl"
    return Places(
        folder=folder,
        staging=folder,
        output=f"{staging}/output.jsonl" if elsewhere else os.path.realpath(options.output),
        errors=errors,
    )


def _folder_of(options: RunOptions) -> str:
    if not _is_elsewhere(options.output):
        return os.path.realpath(options.output) + ".batchyard"
    words = "\0".join((options.input, options.output, options.model or "", *options.upstreams))
    name = hashlib.blake2b(words.encode(), digest_size=8).hexdigest()
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return f"{state}/batchyard/runs/{name}"


def _is_elsewhere(output: str) -> bool:
    """Whether an output is no regular file: standard output, a FIFO, a device or a URL."""
    if output == "-" or "://" in output:
        return True
    path = Path(output)
    return path.exists() and not path.is_file()


def _fetched(options: RunOptions, places: Places, tally: Tally, stop: Stop) -> InputFacts:
    def on_progress(done: int, total: int | None) -> None:
        tally.bytes_read, tally.bytes_total = done, total or 0

    fetched = fetch(options.input, places.staging, should_stop=stop.asked.is_set, on_progress=on_progress)
    return InputFacts(fetched.path, fetched.bytes, fetched.identity)


def _deliver(options: RunOptions, places: Places, stop: Stop) -> None:
    """Bring what the walk wrote to where it was asked; a rerun after a failed delivery only delivers."""
    if _is_elsewhere(options.output):
        deliver(places.output, options.output, should_stop=stop.now.is_set)
    if options.errors is not None and places.errors is not None and _is_elsewhere(options.errors):
        deliver(places.errors, options.errors, should_stop=stop.now.is_set)


def start_over(folder: str) -> None:
    """Forget everything a run's folder holds."""
    tidy(folder, keep_lock=True)


def tidy(folder: str, *, keep_lock: bool = False) -> None:
    """Remove a run's own files, and the folder where nothing else is in it."""
    for name in ("journal", "."):
        for path in _files(Path(folder) / name):
            if not (keep_lock and path.name == "lock"):
                path.unlink(missing_ok=True)
    for path in (Path(folder) / "journal", Path(folder)):
        try:
            path.rmdir()
        except OSError:
            return


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


