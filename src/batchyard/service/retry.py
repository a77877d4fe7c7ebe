"""Retries: a new batch of the lines of an ended one that did not succeed. What is written here is the intention; the
pipeline gathers the lines (`pipeline/gather.py`), so that asking costs the same for two lines and for five million."""

from collections.abc import Mapping

from msgspec import Struct

from batchyard.clock import Clock
from batchyard.domain.access import HIGHEST_PRIORITY, Action, Caller
from batchyard.domain.batch import Batch, BatchState, Form
from batchyard.domain.errors import Conflict
from batchyard.domain.event import arrival
from batchyard.domain.file import ExpiresAfter, FileId
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.service.batches import found
from batchyard.service.ids import Ids
from batchyard.service.rules import BatchRules, QuotaOf
from batchyard.store import Store


class RetryBatch(Struct, frozen=True, kw_only=True):
    """What a caller asks for. None: as the batch has it that is retried."""

    completion_window: str | None = None
    metadata: Mapping[str, object] | None = None
    output_expires_after: ExpiresAfter | None = None


class Retries:
    """What a caller may do with batches that did not answer everything."""

    def __init__(
        self, store: Store, clock: Clock, ids: Ids, quota_of: QuotaOf, rules: BatchRules | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._quota_of = quota_of
        self._rules = rules or BatchRules()

    async def retry(self, caller: Caller, id: str, asked: RetryBatch, *, idempotency_key: str | None = None) -> Batch:
        """A new batch of the lines that failed or never ran, to be gathered and validated.

        Raises NotFound; Invalid where the parameters will not do; QuotaExceeded; Conflict where the batch has not
        ended, could not run at all, has nothing to retry, or where its files are gone, and where the idempotency key
        was used for something else.
        """
        require(caller, Action.RUN_BATCHES)
        old = await found(self._store, caller.project, id)
        quota = self._quota_of(caller.project)
        most = min(HIGHEST_PRIORITY.get(caller.role, 0), quota.highest_priority)
        new = self._new(caller, old, asked, most)
        _require_lines(old)
        await self._require_file(caller, old.input_file_id, "input")
        apart = old.error_file_id is not None
        results = old.error_file_id if apart else old.output_file_id
        await self._require_file(caller, results or FileId(""), "error" if apart else "output")
        once = checks.once(idempotency_key, [old.id, asked])
        return await self._store.batches.add(new, arrival(self._ids.event(), new), quota, once)

    def _new(self, caller: Caller, old: Batch, asked: RetryBatch, highest_priority: int) -> Batch:
        """Like the old one, but for what is asked otherwise, and for everything that has become of it."""
        window, seconds = self._window(old, asked)
        metadata = checks.metadata(asked.metadata)
        kept_seconds = checks.expiry_seconds(asked.output_expires_after, "output_expires_after")
        at = self._now()
        expires = old.form is not Form.AZURE or self._rules.azure_expires
        return Batch(
            id=self._ids.batch(),
            project=caller.project,
            key_id=caller.key_id,
            form=old.form,
            endpoint=old.endpoint,
            input_file_id=self._ids.file(),
            completion_window=window,
            window_seconds=seconds,
            metadata=old.metadata if metadata is None else metadata,
            output_expires_after_seconds=old.output_expires_after_seconds if kept_seconds is None else kept_seconds,
            retry_of=old.id,
            asked_model=old.asked_model,
            display_name=old.display_name,
            inline=old.inline,
            priority=min(old.priority, highest_priority),
            created_at=at,
            expires_at=at + seconds,
            deadline_at=at + seconds if expires else None,
        )

    def _window(self, old: Batch, asked: RetryBatch) -> tuple[str, int]:
        if asked.completion_window is None:
            return old.completion_window, old.window_seconds
        word = checks.one_of(asked.completion_window, self._rules.windows, "completion_window")
        return word, self._rules.windows[word]

    async def _require_file(self, caller: Caller, id: FileId, kind: str) -> None:
        if await self._store.files.get(caller.project, id, self._now()) is None:
            raise Conflict(
                f"The {kind} file of this batch was deleted or has expired.",
                remedy="Upload the lines that are left in a new file, and create a batch of it.",
                param=f"{kind}_file_id",
                reason=f"{kind}_file_gone",
            )

    def _now(self) -> int:
        return int(self._clock.now())


def _require_lines(batch: Batch) -> None:
    """Raise Conflict where a batch has no lines that a new one could ask again."""
    if not batch.state.terminal:
        raise Conflict(
            f"Cannot retry a batch with status '{batch.state}'.",
            remedy="Wait until it has ended, or cancel it first.",
            reason="batch_not_ended",
        )
    if batch.state is BatchState.FAILED or batch.error_count:
        raise Conflict(
            "This batch did not run, for the reasons in its 'errors'.",
            remedy="Mend what they name, and create a batch of the file.",
            reason="batch_not_valid",
        )
    counts = batch.counts
    if not counts.failed + counts.cancelled + counts.expired:
        raise Conflict("There is nothing to retry: every line of this batch succeeded.", reason="nothing_to_retry")
