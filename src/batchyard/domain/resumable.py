"""A resumable: a file on its way as one blob that grows, over as many calls as it takes."""

from typing import NewType

import msgspec
from msgspec import Struct

from batchyard.domain.access import KeyId, ProjectId
from batchyard.domain.file import FileId
from batchyard.domain.upload import UploadState

ResumableId = NewType("ResumableId", str)


class Resumable(Struct, frozen=True, kw_only=True):
    """A file to be: of its bytes, the first `received` are safe. `bytes` is how many were announced, None: nobody said.

    Whoever knows its secret may go on with it in place of the key that began it; `secret_hash` is the SHA-256 of that,
    the secret itself is not kept. `blob` is where the bytes will be, `file_id` which file they become. For the other
    fields see `File`.
    """

    id: ResumableId
    project: ProjectId
    key_id: KeyId | None
    secret_hash: bytes
    file_id: FileId
    blob: str
    filename: str
    purpose: str
    name: str | None = None
    display_name: str | None = None
    mime_type: str | None = None
    bytes: int | None = None
    received: int = 0
    created_at: int
    expires_at: int
    file_expires_after_seconds: int | None = None
    state: UploadState = UploadState.PENDING

    def seen_at(self, at: int) -> "Resumable":
        """The resumable as it stands at a time: a pending one past its end has expired."""
        if self.state is UploadState.PENDING and at >= self.expires_at:
            return msgspec.structs.replace(self, state=UploadState.EXPIRED)
        return self
