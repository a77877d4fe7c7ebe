"""Station *admit*: every line of a batch is checked and planned, its tokens are held, and it may run.

validating    of a retry, its input gathered; then every line checked, one record each in the plan
              then in_progress, or failed; or parked, where its project's tokens are in use
"""

from typing import Any

from batchyard.dialect import LineDialect
from batchyard.domain.batch import BatchState
from batchyard.domain.errors import QuotaExceeded, Unavailable
from batchyard.offload import Offload
from batchyard.pipeline import refuse
from batchyard.pipeline.batch_parts import BatchParts
from batchyard.pipeline.folder import PLAN
from batchyard.pipeline.gather import gather
from batchyard.pipeline.heavy import Check
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.parking import Line, Load, NoRoom
from batchyard.pipeline.refuse import Refused
from batchyard.pipeline.site import Site, look
from batchyard.pipeline.standing import Standing, side_by_side
from batchyard.pipeline.stop import Stopped
from batchyard.pipeline.validate import Verdict
from batchyard.store import TokenRoom
from batchyard.telemetry import traces


class Admission:
    """Of one batch."""

    def __init__(
        self, standing: Standing, parts: BatchParts, offload: Offload, leash: Leash, dialect: LineDialect
    ) -> None:
        self._standing = standing
        self._parts = parts
        self._offload = offload
        self._leash = leash
        self._dialect = dialect

    async def plan(self) -> Site | None:
        """Bring the batch to where it has a plan, and say where; None where it ended instead.

        Raises NoRoom where it was parked.
        """
        standing = self._standing
        site = await self._offload(lambda: look(standing.batch, self._parts))
        if standing.batch.in_progress_at is not None and site.planned:
            return site
        try:
            site, load = await self._load(site)
            standing.model = standing.model or load.model
            if standing.batch.state is BatchState.VALIDATING:
                await self._begin(load)
            else:
                await standing.count_lines(load.lines)
        except Refused as refused:
            await self._refuse(refused)
            return None
        return site

    async def _load(self, site: Site) -> tuple[Site, Load]:
        """Plan the batch, and say what it brings. One that was parked may have its plan. Raises Refused."""
        parked = self._parts.parking.load_of(self._standing.batch.id)
        if parked is not None and site.planned:
            return site, parked
        with traces.span("batch.validate"):
            if await self._gather(site):
                await self._standing.look()
                site = await self._offload(lambda: look(self._standing.batch, self._parts))
            verdict = await self._validate(site)
        asked = self._standing.batch.asked_model or ""
        models = {self._parts.model_of(name or asked) for name in verdict.by_model}
        model = self._standing.model or (models.pop() if len(models) == 1 else None)
        return site, Load(model, verdict.lines, verdict.input_tokens + verdict.output_tokens)

    async def _begin(self, load: Load) -> None:
        """Hold the batch's tokens and let it run, in one. Raises NoRoom where it must wait for them, Refused."""
        batch, parking = self._standing.batch, self._parts.parking
        room = TokenRoom() if self._standing.late else self._parts.room_of(batch.project, load.model)
        if room.most is None:
            await self._run(load, room)
            return
        if load.tokens > room.most:
            raise refuse.too_many_tokens(load.tokens, room.most)
        line: Line = (batch.project, None if room.project is not None else load.model)
        seen = parking.news_of(batch.project)
        if parking.is_behind(batch, line):
            await self._park(line, load, seen)
            return
        try:
            await self._run(load, room)
        except QuotaExceeded as error:
            await self._standing.count_lines(0)  # nobody sees lines of a batch that does not run
            if not self._parts.park:
                raise refuse.no_room(error) from None
            await self._park(line, load, seen)

    async def _run(self, load: Load, room: TokenRoom) -> None:
        """Let the batch run. Lost to a cancel, that goes on with the plan. One that is late holds nothing."""
        await self._parts.beat.wait()
        held = 0 if self._standing.late else load.tokens
        await side_by_side(
            self._standing.count_lines(load.lines),
            self._standing.move(BatchState.IN_PROGRESS, room=room, enqueued_tokens=held),
        )

    async def _park(self, line: Line, load: Load, seen: int) -> None:
        """Raises NoRoom, but where the batch was cancelled meanwhile: then nobody would call the walk again."""
        if self._leash.outcome is not None:
            await self._standing.look()
            await self._standing.count_lines(load.lines)
            return
        self._parts.parking.park(self._standing.batch, line, load, seen)
        raise NoRoom

    async def _validate(self, site: Site) -> Verdict:
        """Check every line and write the plan. Raises Refused where the batch cannot run."""
        parts, batch = self._parts, self._standing.batch
        path = refuse.input_path(batch, parts.disk, parts.input_of)
        most = parts.max_lines(batch.project)

        def on_progress(_: int, lines: int) -> None:
            if self._leash.halted:
                raise Stopped
            if batch.in_progress_at is None:  # else it was let in when more were allowed
                refuse.too_many(lines, most)

        await parts.beat.wait()
        await parts.folders.make(batch.id)
        check = Check(
            disk=site.disk,
            small=site.small,
            input_path=path,
            plan_path=f"{site.folder}/{PLAN}",
            run_id=batch.id,
            terms=parts.terms(batch),
            dialect=self._dialect,
            dedupe=parts.dedupe,
            max_line_bytes=parts.max_line_bytes,
        )
        verdict = None
        if not site.small:
            verdict = await parts.examined(batch.input_blob or "", check.terms, check.plan_path, on_progress)
        if verdict is None:
            verdict = await parts.heavy.validate(check, self._offload, on_progress)
        refuse.bad_lines(verdict)
        return verdict

    async def _gather(self, site: Site) -> bool:
        """Of a batch that retries another: write its input, unless that is done. Whether it was written now."""
        batch, halted = self._standing.batch, lambda: self._leash.halted
        return await gather(batch, self._parts, self._offload, site.folder, self._dialect, halted)

    async def _refuse(self, refused: Refused) -> None:
        """End a batch that cannot run, and say why."""
        standing = self._standing
        if standing.batch.in_progress_at is not None:
            raise Unavailable(f"The input of {standing.batch.id} is not what it was when the batch began to run.")
        await standing.count_lines(0)  # nobody sees lines of a batch that does not run
        faults: dict[str, Any] = {"errors": refused.errors, "error_count": refused.count}
        if standing.batch.state is BatchState.CANCELLING or not await standing.move(BatchState.FAILED, **faults):
            await standing.move(BatchState.CANCELLED, **faults)
