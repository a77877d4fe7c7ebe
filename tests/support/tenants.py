"""Projects and what they keep, made small; a clock and an offload that tests move themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any, TypeVar

import msgspec

from batchyard.domain.access import Caller, Key, KeyId, Project, ProjectId, Role
from batchyard.domain.batch import Batch, BatchId
from batchyard.domain.event import Event, EventId, arrival
from batchyard.domain.file import File, FileId
from batchyard.domain.upload import Part, PartId, Upload, UploadId

T = TypeVar("T")

START = 1_790_000_000
OURS = ProjectId("proj_ours")
THEIRS = ProjectId("proj_theirs")
US = Caller(OURS, Role.ADMIN)
THEM = Caller(THEIRS, Role.ADMIN)
_numbers = count(1)


class FakeClock:
    """Says what it is told."""

    def __init__(self, now: float = START) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def at(self) -> int:
        return int(self.time)


class TurnsOffload:
    """Runs steps in order, on the loop, and lets others go first, so that calls interleave as they do with threads."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def __call__(self, step: Callable[[], T], /) -> T:
        async with self._turn:
            await asyncio.sleep(0)
            return step()


def a_project(id: ProjectId = OURS, **changes: Any) -> Project:
    return Project(**({"id": id, "name": id, "created_at": START} | changes))


def a_key(**changes: Any) -> Key:
    number = next(_numbers)
    given = {
        "id": KeyId(f"key_{number}"),
        "project": OURS,
        "name": "a key",
        "role": Role.EDITOR,
        "prefix": f"by-{number:08}",
        "hash": b"\x00\xff" * 16,
        "created_at": START,
    }
    return Key(**(given | changes))


def a_file(**changes: Any) -> File:
    number = next(_numbers)
    given = {
        "id": FileId(f"file-{number:022}"),
        "project": OURS,
        "filename": "in.jsonl",
        "purpose": "batch",
        "bytes": 10,
        "created_at": START,
        "sha256": "00",
        "blob": f"files/{number}",
    }
    return File(**(given | changes))


def an_upload(**changes: Any) -> Upload:
    given = {
        "id": UploadId(f"upload_{next(_numbers)}"),
        "project": OURS,
        "filename": "in.jsonl",
        "purpose": "batch",
        "mime_type": "application/jsonl",
        "bytes": 10,
        "created_at": START,
        "expires_at": START + 3_600,
    }
    return Upload(**(given | changes))


def a_part(upload: Upload, **changes: Any) -> Part:
    number = next(_numbers)
    given = {
        "id": PartId(f"part_{number}"),
        "upload_id": upload.id,
        "bytes": 5,
        "created_at": START,
        "blob": f"parts/{number}",
    }
    return Part(**(given | changes))


def a_batch(**changes: Any) -> Batch:
    number = next(_numbers)
    given = {
        "id": BatchId(f"batch_{number:032x}"),
        "project": OURS,
        "endpoint": "/v1/chat/completions",
        "input_file_id": FileId(f"file-{number}"),
        "completion_window": "24h",
        "window_seconds": 86_400,
        "output_expires_after_seconds": 2_592_000,
        "created_at": START,
        "expires_at": START + 86_400,
        "deadline_at": START + 86_400,
    }
    return Batch(**(given | changes))


def an_event(batch: Batch) -> Event:
    return arrival(EventId(f"evt_{next(_numbers)}"), batch)


async def pieces(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """Bytes as a door brings them."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def changed(value: T, **changes: Any) -> T:
    return msgspec.structs.replace(value, **changes)  # pyright: ignore[reportArgumentType, reportReturnType]
