"""A file: bytes that someone uploaded or that we produced."""

from enum import StrEnum
from typing import NewType

from msgspec import Struct

from batchyard.domain.access import ProjectId

FileId = NewType("FileId", str)

ID_PREFIX = "file-"
"""What every id begins with. What follows is the name of a file that was given none."""

BATCH = "batch"
USER_DATA = "user_data"
"""The purpose of what came on a wire that asks for none; a batch may read it, too."""
BATCH_OUTPUT = "batch_output"
"""The purpose of result files, errors too."""
INLINE = "batch_inline"
"""The purpose of what a batch was given without a file, and of its results: no list shows them, no quota of files
counts them."""
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
"""What a caller may upload a file for."""

MIN_EXPIRY_SECONDS = 3_600
MAX_EXPIRY_SECONDS = 2_592_000
DEFAULT_EXPIRY_SECONDS = 2_592_000
"""Of batch inputs and of results; files for other purposes never expire unless asked to."""
GEMINI_EXPIRY_SECONDS = 172_800
"""Of whatever came on Gemini's wire."""


class FileStatus(StrEnum):
    """A file exists only once its bytes are durable, so ours are always processed."""

    PROCESSED = "processed"


class ExpiresAfter(Struct, frozen=True):
    """When a file goes by itself, as a caller asks for it."""

    seconds: int
    anchor: str = "created_at"


class File(Struct, frozen=True, kw_only=True):
    """Bytes with a name, a purpose and perhaps an end. `sha256` is hexadecimal; `blob` is the key of the bytes.

    `name` is one that no other file of the project has while this one lives, `display_name` and `mime_type` are what
    the uploader calls it and its kind, believed by nobody; None where nobody said.
    """

    id: FileId
    project: ProjectId
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int | None = None
    status: FileStatus = FileStatus.PROCESSED
    sha256: str
    blob: str
    name: str | None = None
    display_name: str | None = None
    mime_type: str | None = None

    def alive(self, at: int) -> bool:
        """Whether the file has not expired at a time."""
        return self.expires_at is None or at < self.expires_at
