"""Batches of one model that the call names, and not each line: their input is a file, or comes with the call.

Requests that come with the call are kept as a file that no list shows, and so are their results. What is small is
checked before the batch is there, so that its owner hears at once what is wrong; all else is the pipeline's.
"""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from msgspec import Struct, structs

from batchyard.blob import Blobs
from batchyard.clock import Clock
from batchyard.domain.access import HIGHEST_PRIORITY, LOWEST_PRIORITY, Action, Caller, Quota
from batchyard.domain.batch import Batch, BatchId, Counts, Form
from batchyard.domain.errors import BadLines, Conflict, Invalid, NotFound, QuotaExceeded
from batchyard.domain.event import arrival
from batchyard.domain.file import INLINE, File, FileId
from batchyard.domain.hooks import Hooks
from batchyard.domain.line import LineError
from batchyard.service import checks, hooks
from batchyard.service.access import require
from batchyard.service.batches import Batches, found, no_batch
from batchyard.service.ids import Ids
from batchyard.service.incoming import receive
from batchyard.service.rules import BatchRules, QuotaOf
from batchyard.service.webhooks import Check
from batchyard.store import BatchFilter, Direction, Once, Page, Store

LIST_LIMIT = 1000
LIST_DEFAULT = 50
CHECKED_BYTES = 1 << 20
"""A file of up to so many bytes is checked before its batch is there."""


class CreateModelBatch(Struct, frozen=True, kw_only=True):
    """What a caller asks for: the model by any of its names, the canonical endpoint, and either the id of a file or the
    lines of one."""

    model: str
    endpoint: str
    form: Form
    input_file_id: FileId | None = None
    lines: bytes | None = None
    display_name: str | None = None
    priority: int | None = None
    hooks: Hooks | None = None


class Checked(Struct, frozen=True):
    """What was found in some lines: how many there are, and the first of `error_count` faults."""

    lines: int
    errors: Sequence[LineError]
    error_count: int


CheckLines = Callable[[Batch, bytes], Awaitable[Checked]]
"""Checks lines as those of a batch."""


class ModelBatches:
    """What a caller may do with such batches. Those of other forms are unknown here.

    `check` says whether webhooks that a batch brings along could be delivered to.
    """

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        ids: Ids,
        quota_of: QuotaOf,
        rules: BatchRules,
        batches: Batches,
        check_lines: CheckLines,
        check: Check = hooks.nowhere,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._quota_of = quota_of
        self._rules = rules
        self._batches = batches
        self._check_lines = check_lines
        self._check = check

    async def create(self, caller: Caller, asked: CreateModelBatch, *, idempotency_key: str | None = None) -> Batch:
        """A new batch, to be validated.

        Raises NotFound where there is no such file, BadLines where lines that were checked cannot run, Invalid,
        QuotaExceeded, Conflict where the idempotency key was used for something else.
        """
        require(caller, Action.RUN_BATCHES)
        quota = self._quota_of(caller.project)
        batch, once = self._new(caller, asked, quota), _once(asked, idempotency_key)
        await hooks.require_told(batch.hooks, self._check)
        if asked.lines is not None:
            return await self._create_inline(await self._checked(batch, asked.lines), asked.lines, quota, once)
        file = await self._input(caller, batch.input_file_id)
        if file.bytes <= CHECKED_BYTES:
            batch = await self._checked(batch, await self._bytes_of(file))
        return await self._add(batch, quota, once)

    async def get(self, caller: Caller, id: BatchId, form: Form) -> Batch:
        """A batch. Raises NotFound where there is none, or it is another project's, or of another form."""
        require(caller, Action.VIEW_BATCHES)
        return await self._found(caller, id, form)

    async def list(
        self, caller: Caller, form: Form, *, after: BatchId | None = None, limit: int | None = None
    ) -> Page[Batch]:
        """A page of the project's batches of a form, newest first."""
        require(caller, Action.VIEW_BATCHES)
        cursor = checks.cursor(limit, LIST_LIMIT, LIST_DEFAULT, after, Direction.DESC)
        where = BatchFilter(forms=frozenset({form}))
        return checks.known(await self._store.batches.list(caller.project, cursor, where))

    async def cancel(self, caller: Caller, id: BatchId, form: Form) -> Batch:
        """Ask a batch to end with what it has; one that has ended stays as it is. Raises NotFound."""
        require(caller, Action.RUN_BATCHES)
        batch = await self._found(caller, id, form)
        try:
            return batch if batch.state.terminal else await self._batches.cancel(caller, id)
        except Conflict:
            return await self._found(caller, id, form)  # it ended in the same moment

    async def delete(self, caller: Caller, id: BatchId, form: Form) -> None:
        """Let a batch end, and be gone: at once for everybody who looks. Raises NotFound.

        The result file of one that has ended stays until it expires, but what came and went inline goes with it.
        """
        require(caller, Action.RUN_BATCHES)
        batch = await self.cancel(caller, id, form)
        at = self._now()
        if await self._store.batches.delete(caller.project, id, at) is None:
            raise no_batch(id)
        if batch.inline:
            for file_id in (batch.input_file_id, batch.output_file_id):
                if file_id is not None:
                    await self._store.files.delete(caller.project, file_id, at)

    async def describe(
        self, caller: Caller, id: BatchId, form: Form, *, display_name: str | None, priority: int | None
    ) -> Batch:
        """Change the name or the priority of a batch. Raises NotFound, Conflict where it has ended."""
        require(caller, Action.RUN_BATCHES)
        batch = await self._found(caller, id, form)
        named = batch.display_name if display_name is None else display_name
        placed = batch.priority if priority is None else self._priority(caller, priority)
        described = await self._store.batches.describe(caller.project, id, named, placed)
        if described is None:
            await self._found(caller, id, form)
            raise Conflict(f"A batch with status '{batch.state}' cannot be changed.", reason="batch_ended")
        return described

    def _new(self, caller: Caller, asked: CreateModelBatch, quota: Quota) -> Batch:
        at, seconds = self._now(), self._rules.model_window_seconds
        return Batch(
            id=self._ids.batch(),
            project=caller.project,
            key_id=caller.key_id,
            form=asked.form,
            endpoint=checks.one_of(asked.endpoint, self._rules.endpoints, "endpoint"),
            input_file_id=asked.input_file_id or self._ids.file(),
            completion_window=f"{seconds // 3600}h" if seconds % 3600 == 0 else f"{seconds}s",
            window_seconds=seconds,
            output_expires_after_seconds=self._rules.default_expiry_seconds,
            priority=self._priority(caller, asked.priority or 0),
            asked_model=asked.model,
            display_name=asked.display_name,
            inline=asked.lines is not None,
            hooks=hooks.plain(asked.hooks),
            created_at=at,
            expires_at=at + seconds,
            deadline_at=at + seconds,
        )

    def _priority(self, caller: Caller, asked: int) -> int:
        """As near to what is asked as the caller may come: these wires know no bounds, and refuse none."""
        most = min(HIGHEST_PRIORITY.get(caller.role, 0), self._quota_of(caller.project).highest_priority)
        return max(LOWEST_PRIORITY, min(asked, most))

    async def _checked(self, batch: Batch, lines: bytes) -> Batch:
        """The batch with the number of its lines. Raises BadLines, Invalid where there is none."""
        checked = await self._check_lines(batch, lines)
        if checked.error_count:
            raise BadLines(
                f"{checked.error_count} of {checked.lines} requests cannot run.",
                checked.errors,
                count=checked.error_count,
            )
        if not checked.lines:
            raise Invalid("The input file is empty.", remedy="Write one request per line.", reason="empty_file")
        return structs.replace(batch, counts=Counts(checked.lines))

    async def _create_inline(self, batch: Batch, lines: bytes, quota: Quota, once: Once | None) -> Batch:
        """Keep the lines as a file, then the batch of it. Without the batch, nothing is kept."""
        blob = f"files/{batch.input_file_id}"
        async with receive(self._blobs, blob, quota.file_bytes, "requests") as incoming:
            await incoming.write(lines)
            kept = await incoming.commit()
        file = File(
            id=batch.input_file_id,
            project=batch.project,
            filename=f"{batch.id}_input.jsonl",
            purpose=INLINE,
            bytes=kept.bytes,
            created_at=batch.created_at,
            expires_at=batch.expires_at + batch.output_expires_after_seconds,
            sha256=kept.sha256,
            blob=blob,
        )
        try:
            await self._store.files.add(file, quota)
        except QuotaExceeded:
            await self._blobs.delete(blob)
            raise
        try:
            added = await self._add(batch, quota, once)
        except (Conflict, QuotaExceeded):
            await self._store.files.delete(batch.project, file.id, batch.created_at)
            raise
        if added.id != batch.id:
            await self._store.files.delete(batch.project, file.id, batch.created_at)
        return added

    async def _add(self, batch: Batch, quota: Quota, once: Once | None) -> Batch:
        return await self._store.batches.add(batch, arrival(self._ids.event(), batch), quota, once)

    async def _input(self, caller: Caller, id: FileId) -> File:
        file = await self._store.files.get(caller.project, id, self._now())
        if file is None or file.purpose == INLINE:
            raise NotFound(
                f"Cannot find file {id}.",
                remedy="Upload it, with a key of the same project.",
                param="batch.inputConfig.fileName",
            )
        return file

    async def _bytes_of(self, file: File) -> bytes:
        return b"".join([chunk async for chunk in self._blobs.read_range(file.blob, 0, file.bytes)])

    async def _found(self, caller: Caller, id: BatchId, form: Form) -> Batch:
        batch = await found(self._store, caller.project, id)
        if batch.form is not form:
            raise no_batch(id)
        return batch

    def _now(self) -> int:
        return int(self._clock.now())


def _once(asked: CreateModelBatch, key: str | None) -> Once | None:
    """The creation that must happen once. Lines are long, so their hash stands for them."""
    hashed = None if key is None or asked.lines is None else sha256(asked.lines).hexdigest()
    return checks.once(key, [structs.replace(asked, lines=None), hashed])
