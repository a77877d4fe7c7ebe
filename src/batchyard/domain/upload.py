"""An upload: a big file on its way, in parts that may come in any order."""

from enum import StrEnum
from typing import NewType

import msgspec
from msgspec import Struct

from batchyard.domain.access import ProjectId
from batchyard.domain.file import FileId

UploadId = NewType("UploadId", str)
PartId = NewType("PartId", str)

LIFETIME_SECONDS = 3_600
"""How long an upload may take."""


class UploadState(StrEnum):
    """Where an upload stands. All but pending are terminal."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Upload(Struct, frozen=True, kw_only=True):
    """A file to be: `bytes` is what its parts must add up to.

    `file_expires_after_seconds` is for the file, `expires_at` for the upload. `file_id` and `part_ids` (in the order of
    the bytes) are set once it is completed.
    """

    id: UploadId
    project: ProjectId
    filename: str
    purpose: str
    mime_type: str
    bytes: int
    created_at: int
    expires_at: int
    file_expires_after_seconds: int | None = None
    state: UploadState = UploadState.PENDING
    file_id: FileId | None = None
    part_ids: tuple[PartId, ...] = ()

    def seen_at(self, at: int) -> "Upload":
        """The upload as it stands at a time: a pending one past its end has expired."""
        if self.state is UploadState.PENDING and at >= self.expires_at:
            return msgspec.structs.replace(self, state=UploadState.EXPIRED)
        return self


class Part(Struct, frozen=True, kw_only=True):
    """Some bytes of an upload. It has no place of its own: completing the upload names the order."""

    id: PartId
    upload_id: UploadId
    bytes: int
    created_at: int
    blob: str
