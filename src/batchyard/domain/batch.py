"""A batch: one submitted unit of work, and the states that it walks through."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NewType

import msgspec
from msgspec import Struct

from batchyard.domain.access import KeyId, ProjectId
from batchyard.domain.errors import Conflict
from batchyard.domain.file import FileId
from batchyard.domain.hooks import Hooks
from batchyard.domain.line import LineError
from batchyard.domain.result import Usage

BatchId = NewType("BatchId", str)


class BatchState(StrEnum):
    """Where a batch stands, in OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return not MOVES[self]


MOVES: Mapping[BatchState, frozenset[BatchState]] = {
    BatchState.VALIDATING: frozenset({BatchState.IN_PROGRESS, BatchState.FAILED, BatchState.CANCELLING}),
    BatchState.IN_PROGRESS: frozenset({BatchState.FINALIZING, BatchState.CANCELLING}),
    BatchState.FINALIZING: frozenset({BatchState.COMPLETED, BatchState.EXPIRED, BatchState.CANCELLING}),
    BatchState.CANCELLING: frozenset({BatchState.CANCELLED}),
    BatchState.COMPLETED: frozenset(),
    BatchState.FAILED: frozenset(),
    BatchState.EXPIRED: frozenset(),
    BatchState.CANCELLED: frozenset(),
}
"""Every legal move of a batch. A state without a move is terminal.

A batch whose deadline passes is finalized like any other and then expires; one that is cancelled delivers what it has.
"""

TERMINAL = frozenset(state for state in BatchState if state.terminal)


class Form(StrEnum):
    """Whose habits a call or a batch follows, where the vendors differ."""

    OPENAI = "openai"
    AZURE = "azure"
    NEBIUS = "nebius"
    GEMINI = "gemini"


class Counts(Struct, frozen=True):
    """Lines by what became of them. What is left of the total is pending."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0


class Batch(Struct, frozen=True, kw_only=True):
    """One submitted unit of work.

    `endpoint` is as the caller wrote it. `input_blob` holds the input's bytes even after its file is deleted; it is
    None where there was no such file. `expires_at` is what callers see; `deadline_at` is when lines that have not run
    are given up, None for never. `errors` holds the first of `error_count` faults of the input; one with the number 0
    speaks of the file as a whole.

    `retry_of` is the batch whose lines this one asks again. Of two batches of a project the one with the higher
    `priority` goes first. `enqueued_tokens` is what it holds of the project's quota until it ends; `cost_nanos` is what
    it has cost, in billionths of the `currency`, both None until then and where its model has no price.

    `asked_model` answers lines that name no model, `display_name` is its owner's own name for it; None where nobody
    said. `inline` says that its requests came without a file, and that its results are asked for in the same way. From
    `deleted_at` on nobody sees it any more. `hooks` are told of its end.
    """

    id: BatchId
    project: ProjectId
    key_id: KeyId | None = None
    form: Form = Form.OPENAI
    endpoint: str
    input_file_id: FileId
    input_blob: str | None = None
    completion_window: str
    window_seconds: int
    metadata: dict[str, str] | None = None
    output_expires_after_seconds: int
    retry_of: BatchId | None = None
    priority: int = 0
    asked_model: str | None = None
    display_name: str | None = None
    inline: bool = False
    deleted_at: int | None = None
    hooks: Hooks | None = None

    state: BatchState = BatchState.VALIDATING
    created_at: int
    expires_at: int
    deadline_at: int | None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None

    model: str | None = None
    counts: Counts = Counts()
    usage: Usage = Usage()
    errors: tuple[LineError, ...] = ()
    error_count: int = 0
    output_file_id: FileId | None = None
    error_file_id: FileId | None = None
    enqueued_tokens: int = 0
    cost_nanos: int | None = None
    currency: str | None = None

    @property
    def moved_at(self) -> int:
        """When the batch came into its state."""
        moves = (
            self.created_at,
            self.in_progress_at,
            self.finalizing_at,
            self.completed_at,
            self.failed_at,
            self.expired_at,
            self.cancelling_at,
            self.cancelled_at,
        )
        return max(at for at in moves if at is not None)

    def move(self, to: BatchState, at: int) -> "Batch":
        """The batch in its next state, with that state's time. The only way to a new state.

        Times never run backwards, even where the clock does. Raises Conflict for a move that is not in `MOVES`.
        """
        if to not in MOVES[self.state]:
            raise Conflict(f"A batch with status '{self.state}' cannot become '{to}'.")
        return msgspec.structs.replace(self, state=to, **{f"{to}_at": max(at, self.moved_at)})


def short(id: BatchId) -> str:
    """An id without its prefix: what wires call a batch whose ids have none."""
    return id.removeprefix("batch_")


def output_name(id: BatchId) -> str:
    """What the one result file of a batch is called, where it has a name of its own."""
    return f"batch-{short(id)}"
