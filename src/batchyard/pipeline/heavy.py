"""Heavy steps: those that read or write a whole file. What they are, and how they are carried out in threads.

They keep the interpreter busy for as long as the file is long, so a server carries those of large files out in
processes of their own (`wiring/heavy`); the steps are the same.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from msgspec import Struct

from batchyard.config import MAX_LINE_BYTES, Order
from batchyard.dialect import LineDialect
from batchyard.disk import Disk
from batchyard.domain.batch import Form
from batchyard.offload import Offload
from batchyard.pipeline.finalize import Written, finalize
from batchyard.pipeline.folder import Opened
from batchyard.pipeline.validate import OnProgress, Verdict, validate


class Terms(Struct, frozen=True):
    """What the lines of a batch are held to.

    `endpoint` is canonical. `models` are those that lines may name, None: any; all lines the same, but where there may
    be `several_models`. `own_names` says what the model of an alias is called. `lines` is whose form the lines have,
    and `default_model` what those ask that name no model.
    """

    endpoint: str
    models: frozenset[str] | None
    several_models: bool = False
    own_names: dict[str, str] = {}
    lines: Form = Form.OPENAI
    default_model: str | None = None


class Check(Struct, frozen=True, kw_only=True):
    """An input to be validated: see `validate`. `dialect` holds its lines to `terms`, in the name of `run_id`.

    The plan of a `small` one is written to `disk`, of others to the machine's own.
    """

    disk: Disk
    small: bool
    input_path: str
    plan_path: str
    run_id: str
    terms: Terms
    dialect: LineDialect
    dedupe: bool = True
    max_line_bytes: int = MAX_LINE_BYTES


class Writing(Struct, frozen=True, kw_only=True):
    """Result files to be written: see `finalize`; publishing makes them safe. All of `run`'s journal is durable."""

    small: bool
    folder: str
    journal_folder: str
    input_path: str
    output: str
    errors: str | None
    run_id: str
    terms: Terms
    form: Form
    dialect: LineDialect
    run: Opened
    by_model: bool = False


class Heavy(Protocol):
    """Carries heavy steps out, a few at a time. Whatever `on_progress` raises stops one, and is raised here.

    Raises Unavailable where it cannot be done now; doing it again later is right.
    """

    async def validate(self, check: Check, offload: Offload, on_progress: OnProgress) -> Verdict: ...

    async def finalize(self, writing: Writing, offload: Offload, on_progress: Callable[[int], None]) -> Written: ...


class InThreads:
    """Carries them out where the walk has its other blocking steps, so many at a time that are not small."""

    def __init__(self, disk: Disk, at_once: int) -> None:
        self._disk = disk
        self._turns = asyncio.Semaphore(at_once)

    async def validate(self, check: Check, offload: Offload, on_progress: OnProgress) -> Verdict:
        async with self._turn(check.small):
            return await offload(
                lambda: validate(
                    check.disk,
                    check.input_path,
                    check.plan_path,
                    check.dialect,
                    dedupe=check.dedupe,
                    max_line_bytes=check.max_line_bytes,
                    on_progress=on_progress,
                )
            )

    async def finalize(self, writing: Writing, offload: Offload, on_progress: Callable[[int], None]) -> Written:
        async with self._turn(writing.small):
            return await offload(
                lambda: finalize(
                    self._disk,
                    writing.run.plan,
                    writing.run.reader,
                    writing.run.journal,
                    writing.dialect,
                    output=writing.output,
                    errors=writing.errors,
                    order=Order.INPUT,
                    on_progress=on_progress,
                    durable=False,
                    by_model=writing.by_model,
                )
            )

    def _turn(self, small: bool) -> AbstractAsyncContextManager[object]:
        return nullcontext() if small else self._turns
