"""The walk of one batch of the server: the runner's stations, between states that are kept in the store.

    validating    every line checked, planned, let in (`admit`)       then in_progress, or failed
    in_progress   results in the journal, at most one per line        then finalizing
    finalizing    the result files, published (`conclude`)            then completed or expired
    cancelling    whatever is there of the above, to its end          then cancelled

Each station makes its part durable before the state moves, so a crash anywhere is only a station that has not finished:
walking again goes on from the state, the plan and the journal. A batch that is stopped for good, by its deadline or by
its owner, has an error line written for everything that did not run, and is finalized like any other.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial

from batchyard.domain.batch import Batch, BatchState
from batchyard.domain.errors import Unavailable
from batchyard.offload import Offload
from batchyard.pipeline import folder as folders
from batchyard.pipeline import rest
from batchyard.pipeline.admit import Admission
from batchyard.pipeline.ask import Asked, Asking
from batchyard.pipeline.batch_parts import BatchParts
from batchyard.pipeline.conclude import Conclusion
from batchyard.pipeline.folder import Opened
from batchyard.pipeline.leash import REASONS, Leash
from batchyard.pipeline.lines import Reader
from batchyard.pipeline.share import Shares
from batchyard.pipeline.site import Site, input_of
from batchyard.pipeline.standing import Standing
from batchyard.pipeline.stop import Stopped
from batchyard.pipeline.underway import Walking
from batchyard.pipeline.watch import Watch
from batchyard.telemetry import traces


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
        self._standing = Standing(batch, parts)
        self._parts = parts
        self._offload = offload
        self._leash = leash

    async def run(self) -> None:
        standing, parts = self._standing, self._parts
        await standing.look()
        self._dialect = parts.dialect(standing.batch)
        site = None if standing.batch.state.terminal else await self._admitted()
        parts.parking.leave(standing.batch)
        if site is not None:
            async with self._opened(site) as run:
                with parts.underway.shown(standing.batch.id, self._walking(site, run)):
                    await self._answer(run)
                    await self._concluded(site, run)
        await self._offload(lambda: folders.remove(parts.disk, f"{parts.folder}/{standing.batch.id}"))

    async def _admitted(self) -> Site | None:
        return await Admission(self._standing, self._parts, self._offload, self._leash, self._dialect).plan()

    async def _concluded(self, site: Site, run: Opened) -> None:
        await Conclusion(self._standing, self._parts, self._offload, self._leash, self._dialect, site).end(run)

    def _opened(self, site: Site) -> AbstractAsyncContextManager[Opened]:
        parts = self._parts
        return folders.opened(
            site.disk,
            self._offload,
            lambda folder, lines: parts.journal(self._offload, folder, lines),
            site.folder,
            self._input(),
            journal_folder=site.journal_folder,
        )

    def _input(self) -> str:
        return input_of(self._standing.batch, self._parts)

    def _walking(self, site: Site, run: Opened) -> Walking:
        """What those need who look at the results so far."""
        return Walking(site.disk, site.folder, self._input(), self._dialect, run.journal)

    async def _answer(self, run: Opened) -> None:
        """Bring every line to a result in the journal. Raises Stopped where the walk was told to leave before that."""
        self._heed_the_state()
        await rest.record_error_lines(run, self._dialect)
        if rest.is_left(run) and self._leash.outcome is None:
            with traces.span("batch.dispatch", model=self._standing.batch.model, lines=run.plan.lines):
                await self._ask(run)
        if rest.is_left(run):
            if self._leash.outcome is None:
                assert self._leash.halted, "lines are left for no reason"
                raise Stopped
            await rest.give_up(run, self._dialect, self._leash.outcome, REASONS[self._leash.outcome])

    def _heed_the_state(self) -> None:
        """What happened while nobody walked."""
        if self._standing.batch.state is BatchState.CANCELLING:
            self._leash.cancel()
        elif self._standing.late:
            self._leash.expire()

    async def _ask(self, run: Opened) -> None:
        """Ask the engines what is left; what they answered is durable when this returns."""
        parts, batch, shares = self._parts, self._standing.batch, Shares()
        watch = Watch(batch, self._standing.count, parts.clock, self._leash, shares, parts.count_seconds)
        asking = Asking(
            batch=batch,
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
        parts, dialect, model = self._parts, self._dialect, self._standing.batch.model
        if model is not None:
            yield [Asked(model, lambda: rest.requests(run, dialect))]
            return
        by_model = await self._offload(lambda: rest.by_model(run, dialect, parts.model_of))
        with ExitStack() as readers:
            asked: list[Asked] = []
            for model, places in by_model.items():
                reader = await self._offload(lambda: Reader(parts.disk, self._input()))
                readers.callback(reader.close)
                asked.append(Asked(model, partial(rest.requests_at, run, reader, dialect, places)))
            yield asked
