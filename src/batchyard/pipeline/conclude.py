"""Station *conclude*: every line has its result; the result files are written and published, and the batch ends.

finalizing    the result files, written whole, become blobs       then completed or expired
cancelling    the same                                            then cancelled
"""

from collections.abc import Awaitable

from msgspec import structs

from batchyard.dialect import LineDialect
from batchyard.domain.batch import Batch, BatchState, Counts
from batchyard.domain.price import Spent, day_of
from batchyard.offload import Offload
from batchyard.pipeline import rest
from batchyard.pipeline.batch_parts import BatchParts
from batchyard.pipeline.finalize import Used, Written
from batchyard.pipeline.folder import Opened
from batchyard.pipeline.heavy import Writing
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.publish import ResultFiles
from batchyard.pipeline.site import Site, input_of
from batchyard.pipeline.standing import Standing, side_by_side
from batchyard.pipeline.stop import Stopped
from batchyard.telemetry import traces

OUTPUT = "output.jsonl"
ERRORS = "errors.jsonl"


class Conclusion:
    """Of one batch."""

    def __init__(
        self,
        standing: Standing,
        parts: BatchParts,
        offload: Offload,
        leash: Leash,
        dialect: LineDialect,
        site: Site,
    ) -> None:
        self._standing = standing
        self._parts = parts
        self._offload = offload
        self._leash = leash
        self._dialect = dialect
        self._site = site

    async def end(self, run: Opened) -> None:
        """Write the result files, and publish them with the end of the batch.

        A small batch has them before anybody could see that it is finalized: all that is said of it is one commit.
        """
        standing = self._standing
        if not self._site.small:
            counts = await self._offload(lambda: rest.final_counts(run))
            await side_by_side(standing.count(counts, rest.counted(run)[1]), self._finalizing())
        with traces.span("batch.finalize", lines=run.plan.lines):
            written = await self._write(run)
        with traces.span("batch.publish"):
            files = await self._publish(written)
        if self._site.small:
            await self._end_at_once(run, written, files)
        else:
            await standing.count(_counts(written), written.usage)
        while not standing.batch.state.terminal:  # lost to a cancel, once
            before = standing.batch
            closed = self._closed(before, run, files, written)
            await standing.moved(before, closed, *files.all, spent=self._spent(closed, written))

    async def _finalizing(self) -> None:
        """Lost to a cancel: it is finalized all the same."""
        if self._standing.batch.state is BatchState.IN_PROGRESS:
            await self._standing.move(BatchState.FINALIZING)

    async def _end_at_once(self, run: Opened, written: Written, files: ResultFiles) -> None:
        """The last moves of a batch, begun one after another without waiting. One that loses its state changes
        nothing, nor do those behind it."""
        await self._parts.beat.wait()
        standing, counts, usage = self._standing, _counts(written), written.usage
        before = structs.replace(standing.batch, counts=counts, usage=usage)
        steps: list[Awaitable[object]] = [standing.count(counts, usage)]
        if before.state is BatchState.IN_PROGRESS:
            finalizing = standing.after(before, BatchState.FINALIZING)
            closed = self._closed(finalizing, run, files, written)
            spent = self._spent(closed, written)
            steps.append(standing.write_move(before, finalizing))
            steps.append(standing.write_move(finalizing, closed, *files.all, spent=spent))
        await side_by_side(*steps)
        await standing.look()

    async def _write(self, run: Opened) -> Written:
        def on_progress(_: int) -> None:
            if self._leash.halted:
                raise Stopped

        parts, site, batch = self._parts, self._site, self._standing.batch
        writing = Writing(
            small=site.small,
            folder=site.folder,
            journal_folder=site.journal_folder,
            input_path=input_of(batch, parts),
            output=f"{site.folder}/{OUTPUT}",
            errors=f"{site.folder}/{ERRORS}" if self._dialect.errors_apart else None,
            run_id=batch.id,
            terms=parts.terms(batch),
            form=batch.form,
            dialect=self._dialect,
            run=run,
            by_model=self._standing.model is None,
        )
        return await parts.heavy.finalize(writing, self._offload, on_progress)

    async def _publish(self, written: Written) -> ResultFiles:
        folder = self._site.folder
        return await self._parts.publisher.publish(
            self._standing.batch,
            self._standing.now,
            output=f"{folder}/{OUTPUT}" if written.output_bytes else None,
            errors=f"{folder}/{ERRORS}" if written.error_bytes else None,
        )

    def _closed(self, before: Batch, run: Opened, files: ResultFiles, written: Written) -> Batch:
        output, errors, (cost_nanos, currency) = files.output, files.errors, self._cost(written)
        return self._standing.after(
            before,
            _last_state(before, run),
            output_file_id=output.id if output else None,
            error_file_id=errors.id if errors else None,
            cost_nanos=cost_nanos,
            currency=currency,
        )

    def _cost(self, written: Written) -> tuple[int | None, str | None]:
        """What the batch costs; nothing that could be said where its models cost none, or several currencies."""
        used = self._used(written)
        prices = {model: price for model in used if (price := self._parts.price_of(model)) is not None}
        currencies = {price.currency for price in prices.values()}
        if len(currencies) != 1:
            return None, None
        return sum(price.cost(used[model].usage, batch=True) for model, price in prices.items()), currencies.pop()

    def _spent(self, batch: Batch, written: Written) -> list[Spent]:
        """What the batch adds to the spending of its project; nothing where it has asked nothing."""
        return [
            Spent(
                project=batch.project,
                day=day_of(batch.moved_at),
                model=model,
                batch=True,
                currency=price.currency if price else None,
                requests=used.requests,
                usage=used.usage,
                nanos=price.cost(used.usage, batch=True) if price else 0,
            )
            for model, used in self._used(written).items()
            if used.requests
            for price in (self._parts.price_of(model),)
        ]

    def _used(self, written: Written) -> dict[str, Used]:
        """What the batch has used of each model, by its own name."""
        model, counts = self._standing.model, _counts(written)
        if model is not None:
            return {model: Used(counts.completed + counts.failed, written.usage)}
        used: dict[str, Used] = {}
        for name, each in written.by_model.items():
            own = self._parts.model_of(name)
            used[own] = used.get(own, Used()).and_(each)
        return used


def _last_state(batch: Batch, run: Opened) -> BatchState:
    if batch.state is BatchState.CANCELLING:
        return BatchState.CANCELLED
    return BatchState.EXPIRED if run.journal.recorded.expired else BatchState.COMPLETED


def _counts(written: Written) -> Counts:
    """What the files say of each line is what the batch says of all."""
    failed = written.errored - written.cancelled - written.expired
    return Counts(written.lines, written.succeeded, failed, cancelled=written.cancelled, expired=written.expired)
