"""The walk of one batch of the server: the runner's stations, between states that are kept in the store.

    validating    of a retry, its input gathered; then
                  every line checked, one record each in the plan     then in_progress, or failed
    in_progress   results in the journal, at most one per line        then finalizing
    finalizing    the result files, written whole, become blobs       then completed or expired
    cancelling    whatever is there of the above, to its end          then cancelled

Each station makes its part durable before the state moves, so a crash anywhere is only a station that has not finished:
walking again goes on from the state, the plan and the journal. A batch that is stopped for good, by its deadline or by
its owner, has an error line written for everything that did not run, and is finalized like any other.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Any

from msgspec import Struct, structs

from batchyard.clock import Clock
from batchyard.config import MAX_LINE_BYTES, DispatchSettings
from batchyard.dialect import LineDialect
from batchyard.disk import Disk
from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchState, Counts
from batchyard.domain.errors import QuotaExceeded, Unavailable
from batchyard.domain.event import EventId, arrival
from batchyard.domain.file import File
from batchyard.domain.price import Price
from batchyard.domain.result import Usage
from batchyard.journal import Journal
from batchyard.offload import Offload
from batchyard.pipeline import folder as folders
from batchyard.pipeline import refuse, rest
from batchyard.pipeline.aside import Aside
from batchyard.pipeline.ask import Asked, Asking
from batchyard.pipeline.backlog import Held
from batchyard.pipeline.beat import Beat
from batchyard.pipeline.examine import Taking, nothing_examined
from batchyard.pipeline.finalize import Written
from batchyard.pipeline.folder import JOURNAL, PLAN, Folders, Opened
from batchyard.pipeline.gather import gather
from batchyard.pipeline.heavy import Check, Heavy, Terms, Writing
from batchyard.pipeline.leash import REASONS, Leash
from batchyard.pipeline.lines import Reader
from batchyard.pipeline.parking import Line, Load, NoRoom, Parking
from batchyard.pipeline.publish import Publisher, ResultFiles
from batchyard.pipeline.refuse import Refused
from batchyard.pipeline.share import Shares, Sharing
from batchyard.pipeline.stop import Stopped
from batchyard.pipeline.underway import Underway, Walking
from batchyard.pipeline.validate import Verdict
from batchyard.pipeline.watch import Watch
from batchyard.store import Store, TokenRoom
from batchyard.telemetry import traces

SMALL_BYTES = 256 << 10
"""An input of up to so many bytes is small: its plan is made again after a crash rather than kept on the disk, and
nothing about it is heavy."""
OUTPUT = "output.jsonl"
ERRORS = "errors.jsonl"
_ANY_ROOM = TokenRoom()


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


async def walk_batch(batch: Batch, parts: BatchParts, offload: Offload, leash: Leash) -> None:
    """Walk a batch from where it stands to its end, or until the leash says to leave.

    Raises NoRoom where it was parked, Unavailable where an engine, the disk or the store cannot serve now: the batch
    stays as it is, and walking it again later goes on.
    """
    try:
        with (
            parts.beat.walking(),
            traces.span("batch.walk", batch_id=batch.id, endpoint=batch.endpoint, state=str(batch.state)),
        ):
            await _BatchWalk(batch, parts, offload, leash).run()
    except OSError as error:
        raise Unavailable(
            f"The disk failed under {parts.folder}/{batch.id}: {error.strerror or error}.",
            remedy="Make room or mend the disk: the batch goes on by itself.",
        ) from error
    except Stopped:
        return


async def tidy(parts: BatchParts, offload: Offload) -> None:
    """Make the place of the run folders; remove those of batches that ended when a crash came before their walk did."""
    await offload(lambda: folders.make_folder(parts.disk, parts.folder))
    unended = {batch.id for batch in await parts.store.batches.unended()}
    for name in await offload(lambda: parts.disk.names(parts.folder)):
        if name not in unended:
            await offload(lambda name=name: folders.remove(parts.disk, f"{parts.folder}/{name}"))


class _BatchWalk:
    def __init__(self, batch: Batch, parts: BatchParts, offload: Offload, leash: Leash) -> None:
        self._batch = batch
        self._parts = parts
        self._offload = offload
        self._leash = leash
        self._disk: Disk = parts.disk
        self._small = False
        self._folder = self._journal_folder = f"{parts.folder}/{batch.id}"
        self._model: str | None = batch.model

    async def run(self) -> None:
        await self._look()
        self._dialect = self._parts.dialect(self._batch)
        planned = not self._batch.state.terminal and await self._plan()
        self._parts.parking.leave(self._batch)
        if planned:
            async with self._opened() as run:
                with self._parts.underway.shown(self._batch.id, self._walking(run)):
                    await self._answer(run)
                    await self._end(run)
        await self._offload(lambda: folders.remove(self._parts.disk, self._folder))

    # Validate and plan

    async def _plan(self) -> bool:
        """Bring the batch to where it has a plan; False where it ended instead."""
        has_plan = await self._offload(self._look_at_the_disk)
        if self._batch.in_progress_at is not None and has_plan:
            return True
        try:
            load = await self._load(has_plan)
            self._model = self._model or load.model
            if self._batch.state is BatchState.VALIDATING:
                await self._begin(load)
            else:
                await self._count_lines(load.lines)
        except Refused as refused:
            return await self._refuse(refused)
        return True

    async def _load(self, has_plan: bool) -> Load:
        """Plan the batch, and say what it brings. One that was parked may have its plan. Raises Refused."""
        parked = self._parts.parking.load_of(self._batch.id)
        if parked is not None and has_plan:
            return parked
        with traces.span("batch.validate"):
            verdict = await self._validate()
        models = {self._parts.model_of(name) for name in verdict.by_model}
        model = self._model or (models.pop() if len(models) == 1 else None)
        return Load(model, verdict.lines, verdict.input_tokens + verdict.output_tokens)

    async def _begin(self, load: Load) -> None:
        """Hold the batch's tokens and let it run, in one. Raises NoRoom where it must wait for them, Refused."""
        room = TokenRoom() if self._is_late() else self._parts.room_of(self._batch.project, load.model)
        if room.most is None:
            await self._run(load, room)
            return
        if load.tokens > room.most:
            raise refuse.too_many_tokens(load.tokens, room.most)
        line: Line = (self._batch.project, None if room.project is not None else load.model)
        seen = self._parts.parking.news_of(self._batch.project)
        if self._parts.parking.is_behind(self._batch, line):
            await self._park(line, load, seen)
            return
        try:
            await self._run(load, room)
        except QuotaExceeded as error:
            await self._count_lines(0)  # nobody sees lines of a batch that does not run
            if not self._parts.park:
                raise refuse.no_room(error) from None
            await self._park(line, load, seen)

    async def _run(self, load: Load, room: TokenRoom) -> None:
        """Let the batch run. Lost to a cancel, that goes on with the plan. One that is late holds nothing."""
        await self._parts.beat.wait()
        held = 0 if self._is_late() else load.tokens
        await _side_by_side(
            self._count_lines(load.lines), self._move(BatchState.IN_PROGRESS, room=room, enqueued_tokens=held)
        )

    async def _park(self, line: Line, load: Load, seen: int) -> None:
        """Raises NoRoom, but where the batch was cancelled meanwhile: then nobody would call the walk again."""
        if self._leash.outcome is not None:
            await self._look()
            await self._count_lines(load.lines)
            return
        self._parts.parking.park(self._batch, line, load, seen)
        raise NoRoom

    async def _validate(self) -> Verdict:
        """Check every line and write the plan. Raises Refused where the batch cannot run."""
        await self._gather()
        parts, path = self._parts, refuse.input_path(self._batch, self._parts.disk, self._parts.input_of)
        most = parts.max_lines(self._batch.project)

        def on_progress(_: int, lines: int) -> None:
            if self._leash.halted:
                raise Stopped
            if self._batch.in_progress_at is None:  # else it was let in when more were allowed
                refuse.too_many(lines, most)

        await parts.beat.wait()
        await parts.folders.make(self._batch.id)
        check = Check(
            disk=self._disk,
            small=self._small,
            input_path=path,
            plan_path=f"{self._folder}/{PLAN}",
            run_id=self._batch.id,
            terms=parts.terms(self._batch),
            dialect=self._dialect,
            dedupe=parts.dedupe,
            max_line_bytes=parts.max_line_bytes,
        )
        verdict = None
        if not self._small:
            verdict = await parts.examined(self._batch.input_blob or "", check.terms, check.plan_path, on_progress)
        if verdict is None:
            verdict = await parts.heavy.validate(check, self._offload, on_progress)
        refuse.bad_lines(verdict)
        return verdict

    async def _gather(self) -> None:
        """Of a batch that retries another: write its input, unless that is done."""
        custom_id, halted = self._dialect.custom_id, lambda: self._leash.halted
        if await gather(self._batch, self._parts, self._offload, self._folder, custom_id, halted):
            await self._look()

    async def _refuse(self, refused: Refused) -> bool:
        """End a batch that cannot run, and say why."""
        faults: dict[str, Any] = {"errors": refused.errors, "error_count": refused.count}
        if self._batch.in_progress_at is not None:
            raise Unavailable(f"The input of {self._batch.id} is not what it was when the batch began to run.")
        if self._batch.state is BatchState.CANCELLING or not await self._move(BatchState.FAILED, **faults):
            await self._move(BatchState.CANCELLED, **faults)
        return False

    def _look_at_the_disk(self) -> bool:
        """See how big the input is, and what there is of a plan and a journal. Blocks."""
        disk, blob = self._parts.disk, self._batch.input_blob
        path = self._parts.input_of(blob) if blob is not None else None
        if path is not None and disk.exists(path):
            handle = disk.open(path)
            self._small = handle.size() <= self._parts.small_bytes
            handle.close()
        if self._small:
            self._disk = Aside(disk, f"{self._folder}/{PLAN}")
        if disk.names(f"{self._folder}/{JOURNAL}"):  # as earlier releases began it
            self._journal_folder = f"{self._folder}/{JOURNAL}"
        return disk.exists(f"{self._folder}/{PLAN}")

    async def _count_lines(self, lines: int) -> None:
        await self._count(structs.replace(self._batch.counts, total=lines), self._batch.usage)

    # Dispatch and record

    def _opened(self) -> AbstractAsyncContextManager[Opened]:
        parts = self._parts
        return folders.opened(
            self._disk,
            self._offload,
            lambda folder, lines: parts.journal(self._offload, folder, lines),
            self._folder,
            self._input(),
            journal_folder=self._journal_folder,
        )

    def _input(self) -> str:
        path = self._parts.input_of(self._batch.input_blob or "")
        assert path is not None
        return path

    def _walking(self, run: Opened) -> Walking:
        """What those need who look at the results so far."""
        return Walking(self._disk, self._folder, self._input(), self._dialect, run.journal)

    async def _answer(self, run: Opened) -> None:
        """Bring every line to a result in the journal. Raises Stopped where the walk was told to leave before that."""
        self._heed_the_state()
        if rest.is_left(run) and self._leash.outcome is None:
            with traces.span("batch.dispatch", model=self._batch.model, lines=run.plan.lines):
                await self._ask(run)
        if rest.is_left(run):
            if self._leash.outcome is None:
                assert self._leash.halted, "lines are left for no reason"
                raise Stopped
            await rest.give_up(run, self._dialect, self._leash.outcome, REASONS[self._leash.outcome])

    def _heed_the_state(self) -> None:
        """What happened while nobody walked."""
        if self._batch.state is BatchState.CANCELLING:
            self._leash.cancel()
        elif self._is_late():
            self._leash.expire()

    def _is_late(self) -> bool:
        return self._batch.deadline_at is not None and self._parts.clock.now() >= self._batch.deadline_at

    async def _ask(self, run: Opened) -> None:
        """Ask the engines what is left; what they answered is durable when this returns."""
        parts, shares = self._parts, Shares()
        watch = Watch(self._batch, self._count, parts.clock, self._leash, shares, parts.count_seconds)
        asking = Asking(
            batch=self._batch,
            engine_of=parts.engine_of,
            journal=run.journal,
            settings=parts.dispatch,
            stop=self._leash.stop,
            shares=shares,
            underway=parts.underway,
            retried=parts.retried,
            random=parts.random,
            held=parts.held,
        )
        async with asyncio.TaskGroup() as group, self._asked(run) as asked:
            watching = group.create_task(watch.run(run))
            outage = await asking.all(asked)
            watching.cancel()
        await run.journal.flush()
        if outage is not None and self._leash.outcome is None:  # else nobody needs the engine any more
            raise outage

    @asynccontextmanager
    async def _asked(self, run: Opened) -> AsyncGenerator[list[Asked]]:
        """What to ask of each model. Several models read the input each in its own place."""
        parts, dialect = self._parts, self._dialect
        if self._batch.model is not None:
            yield [Asked(self._batch.model, lambda: rest.requests(run, dialect))]
            return
        by_model = await self._offload(lambda: rest.by_model(run, dialect, parts.model_of))
        with ExitStack() as readers:
            asked: list[Asked] = []
            for model, places in by_model.items():
                reader = await self._offload(lambda: Reader(parts.disk, self._input()))
                readers.callback(reader.close)
                asked.append(Asked(model, partial(rest.requests_at, run, reader, dialect, places)))
            yield asked

    # Finalize and publish

    async def _end(self, run: Opened) -> None:
        """Write the result files, and publish them with the end of the batch.

        A small batch has them before anybody could see that it is finalized: all that is said of it is one commit.
        """
        counts = await self._offload(lambda: rest.final_counts(run))
        if not self._small:
            await _side_by_side(self._count(counts, rest.counted(run)[1]), self._finalizing())
        with traces.span("batch.finalize", lines=counts.total):
            written = await self._write(run)
        with traces.span("batch.publish"):
            files = await self._publish(written)
        if self._small:
            await self._end_at_once(run, counts, written.usage, files)
        else:
            await self._count(counts, written.usage)
        while not self._batch.state.terminal:  # lost to a cancel, once
            await self._close(run, files, written.usage)

    async def _finalizing(self) -> None:
        """Lost to a cancel: it is finalized all the same."""
        if self._batch.state is BatchState.IN_PROGRESS:
            await self._move(BatchState.FINALIZING)

    async def _end_at_once(self, run: Opened, counts: Counts, usage: Usage, files: ResultFiles) -> None:
        """The last moves of a batch, begun one after another without waiting. One that loses its state changes
        nothing, nor do those behind it."""
        await self._parts.beat.wait()
        before = structs.replace(self._batch, counts=counts, usage=usage)
        steps: list[Awaitable[object]] = [self._count(counts, usage)]
        if before.state is BatchState.IN_PROGRESS:
            finalizing = self._after(before, BatchState.FINALIZING)
            closed = self._closed(finalizing, run, files, usage)
            steps += [self._write_move(before, finalizing), self._write_move(finalizing, closed, *files.all)]
        await _side_by_side(*steps)
        await self._look()

    async def _write(self, run: Opened) -> Written:
        def on_progress(_: int) -> None:
            if self._leash.halted:
                raise Stopped

        parts = self._parts
        writing = Writing(
            small=self._small,
            folder=self._folder,
            journal_folder=self._journal_folder,
            input_path=self._input(),
            output=f"{self._folder}/{OUTPUT}",
            errors=f"{self._folder}/{ERRORS}",
            run_id=self._batch.id,
            terms=parts.terms(self._batch),
            form=self._batch.form,
            dialect=self._dialect,
            run=run,
        )
        return await parts.heavy.finalize(writing, self._offload, on_progress)

    async def _publish(self, written: Written) -> ResultFiles:
        return await self._parts.publisher.publish(
            self._batch,
            self._now(),
            output=f"{self._folder}/{OUTPUT}" if written.output_bytes else None,
            errors=f"{self._folder}/{ERRORS}" if written.error_bytes else None,
        )

    async def _close(self, run: Opened, files: ResultFiles, usage: Usage) -> None:
        before = self._batch
        await self._moved(before, self._closed(before, run, files, usage), *files.all)

    def _closed(self, before: Batch, run: Opened, files: ResultFiles, usage: Usage) -> Batch:
        output, errors, price = files.output, files.errors, self._parts.price_of(self._model or "")
        return self._after(
            before,
            _last_state(before, run),
            output_file_id=output.id if output else None,
            error_file_id=errors.id if errors else None,
            cost_nanos=price.cost(usage, batch=True) if price else None,
            currency=price.currency if price else None,
        )

    # States

    async def _move(self, to: BatchState, *, room: TokenRoom = _ANY_ROOM, **facts: object) -> bool:
        """Bring the batch to its next state; False where somebody else moved it first: it then stands where that is."""
        return await self._moved(self._batch, self._after(self._batch, to, **facts), room=room)

    async def _moved(self, before: Batch, after: Batch, *files: File, room: TokenRoom = _ANY_ROOM) -> bool:
        moved = await self._write_move(before, after, *files, room=room)
        if moved:  # meanwhile it may have been counted
            self._batch = structs.replace(after, counts=self._batch.counts, usage=self._batch.usage)
        else:
            await self._look()
        return moved

    async def _write_move(self, before: Batch, after: Batch, *files: File, room: TokenRoom = _ANY_ROOM) -> bool:
        event = arrival(self._parts.new_event_id(), after)
        moved = await self._parts.store.batches.move(before.state, after, event, files, room)
        if moved:
            self._parts.moved(after)
        return moved

    async def _count(self, counts: Counts, usage: Usage) -> None:
        """Write how far the batch is, where that is news."""
        before = self._batch
        if (counts, usage) == (before.counts, before.usage):
            return
        if await self._parts.store.batches.count(before.id, counts, usage):
            self._batch = structs.replace(self._batch, counts=counts, usage=usage)
            self._parts.counted(before, self._batch)

    def _after(self, before: Batch, to: BatchState, **facts: object) -> Batch:
        return structs.replace(before.move(to, self._now()), model=self._model, **facts)

    async def _look(self) -> None:
        batch = await self._parts.store.batches.get(self._batch.project, self._batch.id)
        assert batch is not None, "batches are never deleted"
        self._batch = batch
        self._model = self._model or batch.model

    def _now(self) -> int:
        return int(self._parts.clock.now())


def _last_state(batch: Batch, run: Opened) -> BatchState:
    if batch.state is BatchState.CANCELLING:
        return BatchState.CANCELLED
    return BatchState.EXPIRED if run.journal.recorded.expired else BatchState.COMPLETED


async def _side_by_side(*steps: Awaitable[object]) -> None:
    """Begin calls of the store in this order, without waiting for each, so that they may share a commit."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(_done(step))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _done(step: Awaitable[object]) -> None:
    await step
