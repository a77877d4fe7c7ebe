"""Which heavy steps go to a process of their own, and how they get there and back."""

import logging
import os
from collections.abc import Callable
from functools import partial

import msgspec

from batchyard.config import MAX_LINE_BYTES
from batchyard.domain.errors import Unavailable
from batchyard.offload import Offload
from batchyard.pipeline.examine import Growing
from batchyard.pipeline.finalize import Written
from batchyard.pipeline.heavy import Check, Heavy, Terms, Writing
from batchyard.pipeline.validate import OnProgress, Verdict
from batchyard.wiring.heavy.processes import Died, Processes
from batchyard.wiring.heavy.processes import OnProgress as Hear
from batchyard.wiring.heavy.wire import Grown, Kind, ToFinalize, ToValidate, decode

HEAVY_BYTES = 16 << 20
"""The size of an input from which on its steps go to another process: forty milliseconds of work."""
_TRIES = 2
_log = logging.getLogger(__name__)


class InProcesses:
    """Carries out the steps of large inputs in processes, the others as `small` does.

    Examining has a process of its own: it lasts as long as an upload does. `close` must be awaited.
    """

    def __init__(self, small: Heavy, at_once: int, heavy_bytes: int = HEAVY_BYTES) -> None:
        self._small = small
        self._processes = Processes(at_once)
        self._examining = Processes(1)
        self._heavy_bytes = heavy_bytes

    async def validate(self, check: Check, offload: Offload, on_progress: OnProgress) -> Verdict:
        if check.small or await self._is_small(check.input_path, offload):
            return await self._small.validate(check, offload, on_progress)
        step = ToValidate(
            input_path=check.input_path,
            plan_path=check.plan_path,
            run_id=check.run_id,
            terms=check.terms,
            dedupe=check.dedupe,
            max_line_bytes=check.max_line_bytes,
        )
        done = await self._carry_out(Kind.VALIDATE, step, lambda each: on_progress(each.bytes, each.lines))
        return decode(done, Verdict)

    async def finalize(self, writing: Writing, offload: Offload, on_progress: Callable[[int], None]) -> Written:
        if writing.small or await self._is_small(writing.input_path, offload):
            return await self._small.finalize(writing, offload, on_progress)
        step = ToFinalize(
            folder=writing.folder,
            journal_folder=writing.journal_folder,
            input_path=writing.input_path,
            output=writing.output,
            errors=writing.errors,
            run_id=writing.run_id,
            terms=writing.terms,
            form=writing.form,
            by_model=writing.by_model,
        )
        done = await self._carry_out(Kind.FINALIZE, step, lambda each: on_progress(each.lines))
        return decode(done, Written)

    async def examine(self, growing: Growing, plan_path: str, terms: Terms, on_progress: OnProgress) -> Verdict:
        """See `pipeline.examine.Examine`. One that dies is not done again: it is only a cache."""
        step = ToValidate(
            input_path=growing.path,
            place=growing.place,
            plan_path=plan_path,
            run_id="examination",
            terms=terms,
            dedupe=True,
            max_line_bytes=MAX_LINE_BYTES,
        )
        async with self._examining.one() as process:

            def hear() -> None:
                process.tell(Kind.GROWN, Grown(growing.readable, growing.whole))

            try:
                done = await process.carry_out(
                    Kind.EXAMINE,
                    step,
                    lambda each: on_progress(each.bytes, each.lines),
                    on_begin=lambda: growing.follow(hear),
                )
                return decode(done, Verdict)
            finally:
                growing.forget()

    async def close(self) -> None:
        await self._processes.close()
        await self._examining.close()

    async def _carry_out(self, kind: Kind, step: msgspec.Struct, hear: Hear) -> bytes:
        """Have a step done; where its process dies of it, once more in another."""
        for left in reversed(range(_TRIES)):
            try:
                async with self._processes.one() as process:
                    return await process.carry_out(kind, step, hear)
            except Died as died:
                _log.warning("heavy_step_died", extra={"step": kind.name.lower(), "reason": str(died)})
                if not left:
                    raise Unavailable(
                        f"The process for large files ended: {died}.", remedy="Look whether the machine lacks memory."
                    ) from died
        raise AssertionError("unreachable")

    async def _is_small(self, path: str, offload: Offload) -> bool:
        return (await offload(partial(os.stat, path))).st_size < self._heavy_bytes
