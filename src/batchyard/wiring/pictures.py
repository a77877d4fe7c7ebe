"""Pictures, put together: from which places they are fetched, and whose files requests may name."""

import asyncio

from batchyard.blob import Blobs
from batchyard.clock import Clock
from batchyard.config import ImageSettings
from batchyard.domain.access import ProjectId
from batchyard.domain.errors import Invalid
from batchyard.domain.file import File, FileId
from batchyard.pipeline.pictures import Pictures, Shelf
from batchyard.store import Store
from batchyard.transport.outside import Outside, Resolve


def pictures_of(settings: ImageSettings, shelf: Shelf | None = None, *, resolve: Resolve | None = None) -> Pictures:
    """Raises Invalid where the settings do not say where pictures may come from."""
    try:
        outside = Outside(
            settings.allow_private, only=settings.only_hosts, resolve=resolve, timeout_seconds=settings.timeout_seconds
        )
    except ValueError as error:
        raise Invalid(f"Images: {error}.", remedy="Name hosts, addresses or networks.") from None
    return Pictures(settings, outside, shelf, now=lambda: asyncio.get_running_loop().time())


def shelf_of(store: Store, blobs: Blobs, clock: Clock) -> Shelf:
    """The files of a server's projects."""

    async def of_id(project: ProjectId, id: FileId) -> File | None:
        return await store.files.get(project, id, int(clock.now()))

    async def named(project: ProjectId, name: str) -> File | None:
        letters = name.removeprefix("files/")
        found = await store.files.by_name(project, letters, int(clock.now()))
        return found or await of_id(project, FileId(f"file-{letters}"))

    async def read(file: File) -> bytes:
        return b"".join([chunk async for chunk in blobs.read_range(file.blob, 0, file.bytes)])

    return Shelf(named, of_id, read)
