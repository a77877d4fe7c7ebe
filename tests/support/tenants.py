"""Projects and what they keep, made small; a clock and an offload that tests move themselves."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from itertools import count
from typing import TypeVar

import msgspec
from msgspec import Struct

from batchyard.blob import Pour, Takes
from batchyard.domain.access import Caller, Key, KeyId, Project, ProjectId, Role
from batchyard.domain.batch import Batch, BatchId
from batchyard.domain.event import Event, EventId, arrival
from batchyard.domain.file import File, FileId
from batchyard.domain.resumable import Resumable, ResumableId
from batchyard.domain.upload import Part, PartId, Upload, UploadId
from batchyard.domain.webhook import EVENT_KINDS, SigningSecret, WebhookEndpoint, WebhookId

T = TypeVar("T")
S = TypeVar("S", bound=Struct)

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


def a_project(id: ProjectId = OURS, **changes: object) -> Project:
    return changed(Project(id=id, name=id, created_at=START), **changes)


def a_key(**changes: object) -> Key:
    number = next(_numbers)
    key = Key(
        id=KeyId(f"key_{number}"),
        project=OURS,
        name="a key",
        role=Role.EDITOR,
        prefix=f"by-{number:08}",
        hash=b"\x00\xff" * 16,
        created_at=START,
    )
    return changed(key, **changes)


def a_file(**changes: object) -> File:
    number = next(_numbers)
    file = File(
        id=FileId(f"file-{number:022}"),
        project=OURS,
        filename="in.jsonl",
        purpose="batch",
        bytes=10,
        created_at=START,
        sha256="00",
        blob=f"files/{number}",
    )
    return changed(file, **changes)


def an_upload(**changes: object) -> Upload:
    upload = Upload(
        id=UploadId(f"upload_{next(_numbers)}"),
        project=OURS,
        filename="in.jsonl",
        purpose="batch",
        mime_type="application/jsonl",
        bytes=10,
        created_at=START,
        expires_at=START + 3_600,
    )
    return changed(upload, **changes)


def a_part(upload: Upload, **changes: object) -> Part:
    number = next(_numbers)
    part = Part(id=PartId(f"part_{number}"), upload_id=upload.id, bytes=5, created_at=START, blob=f"parts/{number}")
    return changed(part, **changes)


def a_resumable(**changes: object) -> Resumable:
    number = next(_numbers)
    resumable = Resumable(
        id=ResumableId(f"resumable_{number}"),
        project=OURS,
        key_id=None,
        secret_hash=f"{number:032}".encode(),
        file_id=FileId(f"file-{number:022}"),
        blob=f"files/{number}",
        filename="in.jsonl",
        purpose="user_data",
        bytes=10,
        created_at=START,
        expires_at=START + 3_600,
    )
    return changed(resumable, **changes)


def a_batch(**changes: object) -> Batch:
    number = next(_numbers)
    batch = Batch(
        id=BatchId(f"batch_{number:032x}"),
        project=OURS,
        endpoint="/v1/chat/completions",
        input_file_id=FileId(f"file-{number}"),
        completion_window="24h",
        window_seconds=86_400,
        output_expires_after_seconds=2_592_000,
        created_at=START,
        expires_at=START + 86_400,
        deadline_at=START + 86_400,
    )
    return changed(batch, **changes)


def an_event(batch: Batch) -> Event:
    return arrival(EventId(f"evt_{next(_numbers)}"), batch)


def an_endpoint(**changes: object) -> WebhookEndpoint:
    number = next(_numbers)
    endpoint = WebhookEndpoint(
        id=WebhookId(f"we_{number:06}"),
        project=OURS,
        name="ci",
        url="https://ci.example/hook",
        event_kinds=EVENT_KINDS,
        secrets=(SigningSecret(f"whsec_{number:032}"),),
        created_at=START,
        updated_at=START,
    )
    return changed(endpoint, **changes)


async def pieces(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """Bytes as a door brings them."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def poured(chunks: AsyncIterable[bytes]) -> Pour:
    """Pieces as a door pours them."""

    async def pour(into: Takes) -> None:
        async for chunk in chunks:
            await into.write(chunk)

    return pour


def changed(value: S, **changes: object) -> S:
    return msgspec.structs.replace(value, **changes)
