"""Station *publish*: a batch's result files become files of its project, and so does the input of a retry.

The bytes become blobs first; the files themselves appear in the very transaction that ends the batch. A crash between
the two leaves blobs that nobody knows, which the sweep removes at the next start, and a journal to write them from.
"""

from collections.abc import Callable

from msgspec import Struct

from batchyard.blob import Blobs, Kept
from batchyard.domain.batch import Batch, Form, output_name
from batchyard.domain.file import BATCH, BATCH_OUTPUT, DEFAULT_EXPIRY_SECONDS, INLINE, File, FileId

OUTPUT_TYPE = "application/jsonl"


class ResultFiles(Struct, frozen=True):
    """A file each for the lines that succeeded and for the others; None where there are none."""

    output: File | None
    errors: File | None

    @property
    def all(self) -> list[File]:
        return [file for file in (self.output, self.errors) if file is not None]


class Publisher:
    """Makes result files. `at` is the time in whole seconds."""

    def __init__(self, blobs: Blobs, new_id: Callable[[], FileId]) -> None:
        self._blobs = blobs
        self._new_id = new_id

    async def publish(self, batch: Batch, at: int, *, output: str | None, errors: str | None) -> ResultFiles:
        """Take the finished files at the given paths; None for one that is empty."""
        return ResultFiles(await self._file(batch, at, output, "output"), await self._file(batch, at, errors, "error"))

    async def input_file(self, batch: Batch, at: int, path: str) -> File:
        """Take the finished input of a batch that retries another, under the id that the batch was made with."""
        blob = f"files/{self._new_id()}"
        kept = await self._blobs.adopt(blob, path)
        return File(
            id=batch.input_file_id,
            project=batch.project,
            filename=f"{batch.retry_of}_retry.jsonl",
            purpose=INLINE if batch.inline else BATCH,
            bytes=kept.bytes,
            created_at=at,
            expires_at=at + DEFAULT_EXPIRY_SECONDS,
            sha256=kept.sha256,
            blob=blob,
        )

    async def _file(self, batch: Batch, at: int, path: str | None, kind: str) -> File | None:
        if path is None:
            return None
        id = self._new_id()
        blob = f"files/{id}"
        return _file(batch, at, id, f"{batch.id}_{kind}.jsonl", blob, await self._blobs.adopt(blob, path))


def _file(batch: Batch, at: int, id: FileId, name: str, blob: str, kept: Kept) -> File:
    of_gemini = batch.form is Form.GEMINI
    return File(
        id=id,
        project=batch.project,
        filename=name,
        purpose=INLINE if batch.inline else BATCH_OUTPUT,
        bytes=kept.bytes,
        created_at=at,
        expires_at=at + batch.output_expires_after_seconds,
        sha256=kept.sha256,
        blob=blob,
        name=output_name(batch.id) if of_gemini and not batch.inline else None,
        mime_type=OUTPUT_TYPE if of_gemini else None,
    )
