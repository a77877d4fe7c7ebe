"""What several calls check within their transaction: a project's quota, and creations that must happen once."""

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.batch import Batch
from batchyard.domain.errors import Conflict, QuotaExceeded
from batchyard.domain.resumable import ResumableId
from batchyard.domain.upload import UploadId
from batchyard.store import Once, TokenRoom
from batchyard.stores.sqlite.database import Transaction

_REMEDY = "Delete files that are no longer needed, or give new ones an expiry."


def require_room(
    t: Transaction,
    project: ProjectId,
    quota: Quota,
    at: int,
    *,
    files: int,
    size: int,
    but: UploadId | ResumableId | None = None,
) -> None:
    """Raise QuotaExceeded where so many more files and bytes would pass the quota; `but` is not counted as pending."""
    kept = t.row("files/kept", project=project, at=at)
    parts = t.row("uploads/kept", project=project, at=at, but=but)
    growing = t.row("resumables/kept", project=project, at=at, but=but)
    assert kept is not None
    assert parts is not None
    assert growing is not None
    if files and kept["files"] + files > quota.files:
        raise QuotaExceeded(
            f"The project's quota of {quota.files} files is used up.", remedy=_REMEDY, reason="insufficient_quota"
        )
    if kept["bytes"] + parts["bytes"] + growing["bytes"] + size > quota.total_bytes:
        raise QuotaExceeded(
            f"The project's quota of {quota.total_bytes} bytes is used up.", remedy=_REMEDY, reason="insufficient_quota"
        )


def require_token_room(t: Transaction, batch: Batch, holds: int, room: TokenRoom) -> None:
    """Raise QuotaExceeded where a batch, which `holds` so many tokens now, would pass the room with those it asks."""
    if room.most is None or batch.enqueued_tokens <= holds:
        return
    found = t.row("batches/enqueued", project=batch.project, model=batch.model)
    assert found is not None
    more = batch.enqueued_tokens - holds
    for held, bound in ((found["tokens"], room.project), (found["of_model"], room.model)):
        if bound is not None and held + more > bound:
            raise QuotaExceeded(
                f"token_limit_exceeded: {held} of {bound} enqueued tokens are in use, and the batch needs {more}.",
                remedy="Wait until other batches have ended, or cancel some.",
                reason="token_limit_exceeded",
            )


def made_before(t: Transaction, project: ProjectId, call: str, once: Once | None) -> str | None:
    """The id that an equal call made. Raises Conflict where the key was used for something else."""
    if once is None:
        return None
    found = t.row("once/get", project=project, call=call, key=once.key)
    if found is None:
        return None
    if found["digest"] != once.digest:
        raise Conflict(
            "This idempotency key was used before with other parameters.",
            remedy="Use a new key for a new request.",
            reason="idempotency_key_reused",
        )
    return str(found["made"])


def remember(t: Transaction, project: ProjectId, call: str, once: Once | None, made: str) -> None:
    """Note what a call made under its key."""
    if once is not None:
        t.run("once/add", project=project, call=call, key=once.key, digest=once.digest, made=made)
