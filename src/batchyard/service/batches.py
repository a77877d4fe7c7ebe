"""Batches, as a caller sees them. What is written here are intentions: the pipeline carries them out."""

from collections.abc import Mapping

from msgspec import Struct

from batchyard.blob import Blobs
from batchyard.clock import Clock
from batchyard.domain.access import HIGHEST_PRIORITY, LOWEST_PRIORITY, Action, Caller, ProjectId, Quota
from batchyard.domain.batch import Batch, BatchId, BatchState, Form
from batchyard.domain.errors import Conflict, Invalid, NotFound
from batchyard.domain.event import arrival
from batchyard.domain.file import BATCH, USER_DATA, ExpiresAfter, File, FileId
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.service.ids import Ids
from batchyard.service.jsonl import begins_with_json
from batchyard.service.rules import BatchRules, QuotaOf, WhenFull
from batchyard.store import BatchFilter, Direction, Page, Store

LIST_LIMIT = 100
LIST_DEFAULT = 20


class CreateBatch(Struct, frozen=True, kw_only=True):
    """What a caller asks for. None: not given. Values of `metadata` are whatever the wire brought."""

    input_file_id: str | None = None
    endpoint: str | None = None
    completion_window: str | None = None
    metadata: Mapping[str, object] | None = None
    output_expires_after: ExpiresAfter | None = None
    priority: int | None = None
    form: Form = Form.OPENAI


class Enqueued(Struct, frozen=True):
    """How many tokens a project's unended batches hold, of how many at most."""

    tokens: int
    most: int


class _Checked(Struct, frozen=True):
    """What a caller asks for, with everything that can be known without the store."""

    input_file_id: FileId
    endpoint: str
    completion_window: str
    window_seconds: int
    metadata: dict[str, str] | None
    output_expires_after_seconds: int
    priority: int
    form: Form


class Batches:
    """What a caller may do with batches."""

    def __init__(
        self, store: Store, blobs: Blobs, clock: Clock, ids: Ids, quota_of: QuotaOf, rules: BatchRules | None = None
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._quota_of = quota_of
        self._rules = rules or BatchRules()

    async def create(self, caller: Caller, asked: CreateBatch, *, idempotency_key: str | None = None) -> Batch:
        """A new batch, to be validated. Costs the same for two lines and for five million.

        Raises Invalid where the parameters will not do or the file's purpose is another, and in Azure's form where no
        tokens are left; QuotaExceeded; Conflict where the idempotency key was used for something else. An input file
        that does not exist is no error here: such a batch is created and fails.
        """
        require(caller, Action.RUN_BATCHES)
        quota = self._quota_of(caller.project)
        checked = _check(asked, self._rules, min(HIGHEST_PRIORITY.get(caller.role, 0), quota.highest_priority))
        await self._require_tokens(caller, asked.form, quota)
        await self._require_input(caller, checked.input_file_id)
        batch = self._new(caller, checked)
        once = checks.once(idempotency_key, checked)
        return await self._store.batches.add(batch, arrival(self._ids.event(), batch), quota, once)

    async def enqueued(self, caller: Caller, input_file_id: str) -> Enqueued | None:
        """What the project holds of its enqueued tokens, with an estimate for an input that was not read yet.

        None where the project has no such quota.
        """
        most = self._quota_of(caller.project).enqueued_tokens
        if most is None:
            return None
        held = await self._store.batches.enqueued(caller.project)
        file = await self._store.files.get(caller.project, FileId(input_file_id), self._now())
        return Enqueued(held + ((file.bytes + 3) // 4 if file else 0), most)

    async def get(self, caller: Caller, id: str) -> Batch:
        """A batch. Raises NotFound where there is none, or it is another project's."""
        require(caller, Action.VIEW_BATCHES)
        return await self._found(caller, id)

    async def list(
        self,
        caller: Caller,
        *,
        after: str | None = None,
        limit: int | None = None,
        direction: Direction = Direction.DESC,
        where: BatchFilter | None = None,
    ) -> Page[Batch]:
        """A page of the project's batches."""
        require(caller, Action.VIEW_BATCHES)
        cursor = checks.cursor(limit, LIST_LIMIT, LIST_DEFAULT, after, direction)
        return checks.known(await self._store.batches.list(caller.project, cursor, where or BatchFilter()))

    async def cancel(self, caller: Caller, id: str) -> Batch:
        """Ask a batch to end with what it has. Cancelling again changes nothing.

        Raises NotFound, and Conflict where the batch has ended otherwise.
        """
        require(caller, Action.RUN_BATCHES)
        while True:  # a lost race means that the batch moved on, which it does only a few times
            batch = await self._found(caller, id)
            if batch.state in (BatchState.CANCELLING, BatchState.CANCELLED):
                return batch
            if batch.state.terminal:
                raise Conflict(f"Cannot cancel a batch with status '{batch.state}'.")
            cancelling = batch.move(BatchState.CANCELLING, self._now())
            event = arrival(self._ids.event(), cancelling)
            if await self._store.batches.move(batch.state, cancelling, event):
                return cancelling

    def _new(self, caller: Caller, checked: _Checked) -> Batch:
        at = self._now()
        expires_at = at + checked.window_seconds
        expires = checked.form is not Form.AZURE or self._rules.azure_expires
        return Batch(
            id=self._ids.batch(),
            project=caller.project,
            key_id=caller.key_id,
            form=checked.form,
            endpoint=checked.endpoint,
            input_file_id=checked.input_file_id,
            completion_window=checked.completion_window,
            window_seconds=checked.window_seconds,
            metadata=checked.metadata,
            output_expires_after_seconds=checked.output_expires_after_seconds,
            priority=checked.priority,
            created_at=at,
            expires_at=expires_at,
            deadline_at=expires_at if expires else None,
        )

    async def _require_input(self, caller: Caller, id: FileId) -> None:
        file = await self._store.files.get(caller.project, id, self._now())
        if file is not None and file.purpose != BATCH and not await self._begins_with_json(file):
            raise Invalid(
                f"The input file {id} has the purpose '{file.purpose}', but must have '{BATCH}'.",
                remedy=f"Upload it again with the purpose '{BATCH}'.",
                param="input_file_id",
                reason="invalid_value",
            )
        if file is None and self._rules.refuse_missing_input:
            raise Invalid(f"Cannot find file {id}.", param="file_id", reason="invalid_request")

    async def _begins_with_json(self, file: File) -> bool:
        """Whether a file that came without a purpose can be an input all the same."""
        return file.purpose == USER_DATA and await begins_with_json(self._blobs, file.blob, file.bytes)

    async def _require_tokens(self, caller: Caller, form: Form, quota: Quota) -> None:
        """Refuse at once what would fail anyway for want of tokens, where callers are used to hear of it so."""
        if form is not Form.AZURE or self._rules.when_full is WhenFull.QUEUE or quota.enqueued_tokens is None:
            return
        if await self._store.batches.enqueued(caller.project) >= quota.enqueued_tokens:
            raise Invalid(
                f"token_limit_exceeded: the quota of {quota.enqueued_tokens} enqueued tokens is used up.",
                remedy="Wait until other batches have ended, or cancel some.",
                reason="token_limit_exceeded",
            )

    async def _found(self, caller: Caller, id: str) -> Batch:
        return await found(self._store, caller.project, id)

    def _now(self) -> int:
        return int(self._clock.now())


async def found(store: Store, project: ProjectId, id: str) -> Batch:
    """A batch of a project. Raises NotFound where there is none, or it is another project's."""
    batch = await store.batches.get(project, BatchId(id))
    if batch is None or batch.deleted_at is not None:
        raise no_batch(id)
    return batch


def no_batch(id: str) -> NotFound:
    return NotFound(f"No batch found with id '{id}'.")


def _check(asked: CreateBatch, rules: BatchRules, highest_priority: int) -> _Checked:
    """Everything that must be so, in the order in which callers hear of it."""
    input_file_id = checks.required(asked.input_file_id, "input_file_id")
    endpoint = checks.required(asked.endpoint, "endpoint")
    window = checks.required(asked.completion_window, "completion_window")
    if canonical(endpoint, asked.form) not in rules.endpoints:
        checks.one_of(endpoint, rules.endpoints, "endpoint")
    checks.one_of(window, rules.windows, "completion_window")
    metadata = checks.metadata(asked.metadata)
    seconds = checks.expiry_seconds(asked.output_expires_after, "output_expires_after")
    priority = checks.in_range(asked.priority or 0, LOWEST_PRIORITY, highest_priority, "priority")
    return _Checked(
        FileId(input_file_id),
        endpoint,
        window,
        rules.windows[window],
        metadata,
        rules.default_expiry_seconds if seconds is None else seconds,
        priority,
        asked.form,
    )


def canonical(endpoint: str, form: Form) -> str:
    """The canonical path of an endpoint as a caller names it: Azure's forms may lack `/v1` and end in a slash."""
    if form is not Form.AZURE:
        return endpoint
    return "/v1/" + endpoint.removeprefix("/v1").strip("/")
