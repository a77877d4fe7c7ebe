"""The walk of one run: from an input file to an output file, through every station, resuming whatever was done.

Each station makes its part durable before the next begins, so a crash anywhere is only a station that has not
finished, and walking again goes on from there:

    begin     run.json: what this run is                         state begun
    plan      every line checked, one record each                state planned
    answer    results in the journal, at most once per line
    finish    the output, written whole and renamed into place   state finished
"""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from batchyard.clock import Clock
from batchyard.config import MAX_LINE_BYTES, DispatchSettings, OnInvalidLine, Order
from batchyard.dialect import LineDialect
from batchyard.disk import Disk
from batchyard.domain.errors import BadLines, Unavailable
from batchyard.endpoint import Grouping
from batchyard.engine import Abilities, Engine
from batchyard.offload import Offload
from batchyard.pipeline import manifest as manifests
from batchyard.pipeline import rest
from batchyard.pipeline.dispatch import dispatch
from batchyard.pipeline.finalize import finalize
from batchyard.pipeline.folder import PLAN, Opened, OpenJournal, clear, make_folder, opened
from batchyard.pipeline.group import Groups
from batchyard.pipeline.manifest import InputFacts, Manifest, OutputFacts, State
from batchyard.pipeline.share import room_of
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.validate import Verdict, validate
from batchyard.policy.group import USUAL_SIZE, largest


class Run(Struct, frozen=True, kw_only=True):
    """What to do. `input` is a local file; `folder` holds the run's own files; `settings` decide the answers.

    `largest_group` is how many lines are asked together at most, where some can be.
    """

    input: InputFacts
    folder: str
    output: str
    errors: str | None
    settings: dict[str, str]
    order: Order = Order.INPUT
    on_invalid_line: OnInvalidLine = OnInvalidLine.ABORT
    dedupe: bool = True
    max_line_bytes: int = MAX_LINE_BYTES
    dispatch: DispatchSettings = DispatchSettings()
    largest_group: int = USUAL_SIZE


class Parts(Struct, frozen=True, kw_only=True):
    """What it is done with.

    `dialect` is made for the run's id, so that a resumed run writes the same ids. `journal` opens the one in a folder,
    for a number of lines. `grouping` is what can be asked together.
    """

    disk: Disk
    offload: Offload
    clock: Clock
    dialect: Callable[[str], LineDialect]
    journal: OpenJournal
    engine: Engine
    random: Random
    new_run_id: Callable[[], str]
    grouping: Grouping | None = None


class Ending(Struct, frozen=True, kw_only=True):
    """How a walk ended. `complete` is False where it was stopped first; `already` where nothing was left to do."""

    complete: bool
    already: bool = False
    lines: int = 0
    succeeded: int = 0
    errored: int = 0
    output: OutputFacts | None = None


async def walk(run: Run, parts: Parts, tally: Tally, stop: Stop) -> Ending:
    """Walk a run to its end, or until it is stopped.

    Raises BadLines where the input has lines that cannot run (nothing ran then, and nothing is left behind), Conflict
    where the folder holds another run, Unavailable where the engine cannot start or the disk cannot keep results.
    """
    try:
        return await _walk(run, parts, tally, stop)
    except OSError as error:
        raise Unavailable(
            f"The disk failed under {run.folder}: {error.strerror or error}.",
            remedy="Make room or mend the disk, and run the same command again: it goes on from what is safe.",
        ) from error


async def _walk(run: Run, parts: Parts, tally: Tally, stop: Stop) -> Ending:
    manifest = await parts.offload(lambda: _begin(run, parts))
    if manifest.state is State.FINISHED:
        return _already(manifest)
    dialect = parts.dialect(manifest.run_id)
    if manifest.state is State.BEGUN:
        await parts.offload(lambda: _plan(run, parts, dialect, manifest, tally, stop))
    if stop.asked.is_set():
        return Ending(complete=False)
    answered = await _answer(run, parts, dialect, tally, stop)
    if not answered:
        return Ending(complete=False, lines=tally.lines, succeeded=tally.succeeded, errored=tally.errored)
    return await parts.offload(lambda: _close(run, parts.disk, manifest, answered, parts.clock))


def _begin(run: Run, parts: Parts) -> Manifest:
    """The manifest to go on with: the folder's own, where it is of this very run, or a new one."""
    disk = parts.disk
    make_folder(disk, run.folder)
    found = manifests.load(disk, run.folder)
    if found is not None and found.state is State.FINISHED:
        if _is_finished(run, disk, found):
            clear(disk, run.folder)  # a crash may have come before the last run did it
            return found
        found = None
    if found is not None and found.state is State.PLANNED:
        manifests.refuse_other_settings(found, run.settings)
        manifests.refuse_changed_input(disk, found, run.input)
        return found
    clear(disk, run.folder)
    begun = Manifest(parts.new_run_id(), run.input, run.settings, begun_at=parts.clock.now())
    manifests.save(disk, run.folder, begun)
    return begun


def _is_finished(run: Run, disk: Disk, found: Manifest) -> bool:
    """Whether a finished run is this one, and its output is still what it wrote."""
    if found.settings != run.settings or found.output is None or not disk.exists(run.output):
        return False
    if not manifests.same_input(disk, found.input, run.input):
        return False
    handle = disk.open(run.output)
    try:
        return handle.size() == found.output.output_bytes
    finally:
        handle.close()


def _already(manifest: Manifest) -> Ending:
    output = manifest.output or OutputFacts()
    return Ending(
        complete=True,
        already=True,
        lines=output.lines,
        succeeded=output.succeeded,
        errored=output.errored,
        output=output,
    )


def _plan(run: Run, parts: Parts, dialect: LineDialect, manifest: Manifest, tally: Tally, stop: Stop) -> None:
    """Check every line and write the plan. A file with bad lines stops here, unless they may become error lines."""
    tally.stage = "reading"
    tally.bytes_total = run.input.size_bytes

    def on_progress(bytes_read: int, lines: int) -> None:
        tally.bytes_read, tally.lines = bytes_read, lines
        if stop.asked.is_set():
            raise _Stopped

    try:
        verdict = validate(
            parts.disk,
            run.input.path,
            f"{run.folder}/{PLAN}",
            dialect,
            dedupe=run.dedupe,
            max_line_bytes=run.max_line_bytes,
            on_progress=on_progress,
        )
    except _Stopped:
        return
    if verdict.error_count and run.on_invalid_line is OnInvalidLine.ABORT:
        clear(parts.disk, run.folder)
        parts.disk.remove(f"{run.folder}/{manifests.NAME}")
        raise _bad_lines(run, verdict)
    manifest.input = InputFacts(run.input.path, run.input.size_bytes, run.input.identity, verdict.digest)
    manifest.state = State.PLANNED
    manifests.save(parts.disk, run.folder, manifest)


class _Stopped(Exception):
    pass


def _bad_lines(run: Run, verdict: Verdict) -> BadLines:
    return BadLines(
        f"{verdict.error_count} of {verdict.lines} lines of {run.input.path} cannot run; nothing was run.",
        verdict.errors,
        count=verdict.error_count,
        remedy="Mend them (batchyard validate lists them all), or use --on-invalid-line error-line to answer them "
        "with an error.",
    )


async def _answer(run: Run, parts: Parts, dialect: LineDialect, tally: Tally, stop: Stop) -> OutputFacts | None:
    """Bring every line to a result in the journal, then write the output. None where it was stopped before."""
    async with opened(parts.disk, parts.offload, parts.journal, run.folder, run.input.path) as planned:
        _count_what_is_done(planned, tally)
        tally.errored += await rest.record_error_lines(planned, dialect)
        if rest.is_left(planned):
            await _ask(run, parts, planned, dialect, tally, stop)
        if rest.is_left(planned):
            return None
        tally.stage = "writing"
        return await parts.offload(lambda: _write(run, parts.disk, planned, dialect, tally))


def _count_what_is_done(planned: Opened, tally: Tally) -> None:
    plan = planned.plan
    tally.lines = plan.lines
    tally.followers = plan.followers
    tally.invalid = plan.invalid
    tally.resumed = planned.journal.recorded.lines


def _groups(run: Run, parts: Parts, abilities: Abilities) -> Groups | None:
    if parts.grouping is None:
        return None
    return Groups(parts.grouping, largest(run.largest_group, room_of(abilities.slots)))


async def _ask(run: Run, parts: Parts, planned: Opened, dialect: LineDialect, tally: Tally, stop: Stop) -> None:
    """Start the engine and ask it what is left; what it answered is durable when this returns."""
    tally.stage = "starting the engine"
    abilities = await parts.engine.start()
    tally.engine = abilities.description
    tally.stage = "running"
    requests, journal = rest.requests(planned, dialect), planned.journal
    await dispatch(
        requests,
        parts.engine,
        abilities,
        journal,
        run.dispatch,
        tally,
        stop,
        random=parts.random,
        groups=_groups(run, parts, abilities),
    )
    tally.engine_restarts = parts.engine.restarts
    await journal.flush()


def _write(run: Run, disk: Disk, planned: Opened, dialect: LineDialect, tally: Tally) -> OutputFacts:
    def on_progress(lines: int) -> None:
        tally.written = lines

    written = finalize(
        disk,
        planned.plan,
        planned.reader,
        planned.journal,
        dialect,
        output=run.output,
        errors=run.errors,
        order=run.order,
        on_progress=on_progress,
    )
    return OutputFacts(written.lines, written.succeeded, written.errored, written.output_bytes, written.error_bytes)


def _close(run: Run, disk: Disk, manifest: Manifest, output: OutputFacts, clock: Clock) -> Ending:
    """Say that the run is finished, then drop what it no longer needs: in this order, for a crash in between."""
    manifest.state = State.FINISHED
    manifest.output = output
    manifest.finished_at = clock.now()
    manifests.save(disk, run.folder, manifest)
    clear(disk, run.folder)
    return Ending(complete=True, lines=output.lines, succeeded=output.succeeded, errored=output.errored, output=output)
