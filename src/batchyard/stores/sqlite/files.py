"""Files."""

from collections.abc import Sequence

import msgspec

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.errors import Conflict
from batchyard.domain.file import File, FileId
from batchyard.domain.resumable import ResumableId
from batchyard.domain.upload import UploadId
from batchyard.store import Cursor, Once, Page
from batchyard.stores.sqlite.database import Database, Row, Transaction
from batchyard.stores.sqlite.limits import made_before, remember, require_room
from batchyard.stores.sqlite.paging import page


class SqliteFiles:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, file: File, quota: Quota | None, once: Once | None = None) -> File:
        return await self._database.write(lambda t: _add_once(t, file, quota, once))

    async def require_room(self, project: ProjectId, quota: Quota, *, files: int, size: int, at: int) -> None:
        await self._database.read(lambda t: require_room(t, project, quota, at, files=files, size=size))

    async def get(self, project: ProjectId, id: FileId, at: int) -> File | None:
        return _file(await self._database.look("files/get", project=project, id=id, at=at))

    async def by_name(self, project: ProjectId, name: str, at: int) -> File | None:
        return _file(await self._database.look("files/by_name", project=project, name=name, at=at))

    async def list(self, project: ProjectId, cursor: Cursor, at: int, purpose: str | None = None) -> Page[File] | None:
        return await self._database.read(lambda t: page(t, "files", project, cursor, _convert, at=at, purpose=purpose))

    async def delete(self, project: ProjectId, id: FileId, at: int) -> File | None:
        return _file(await self._database.write(lambda t: t.row("files/delete", project=project, id=id, at=at)))

    async def expire(self, at: int) -> int:
        return await self._database.write(lambda t: t.run("files/expire", at=at))

    async def dead_blobs(self, limit: int) -> Sequence[str]:
        rows = await self._database.read(lambda t: t.rows("files/dead_blobs", limit=limit))
        return [row["blob"] for row in rows]

    async def forget_blobs(self, blobs: Sequence[str]) -> None:
        listed = msgspec.json.encode(blobs).decode()
        await self._database.write(lambda t: t.run("files/forget_blobs", blobs=listed))

    async def unknown_blobs(self, blobs: Sequence[str]) -> Sequence[str]:
        listed = msgspec.json.encode(blobs).decode()
        rows = await self._database.read(lambda t: t.rows("files/unknown_blobs", blobs=listed))
        return [row["blob"] for row in rows]


def add_file(t: Transaction, file: File, quota: Quota | None, *, but: UploadId | ResumableId | None = None) -> None:
    """Add a file within a transaction; `but` is the upload that it comes from."""
    if quota is not None:
        require_room(t, file.project, quota, file.created_at, files=1, size=file.bytes, but=but)
    _require_name(t, file)
    t.run("files/add", **msgspec.structs.asdict(file))


def nameless_if_taken(t: Transaction, file: File) -> File:
    """The file, without its name where another has that."""
    return msgspec.structs.replace(file, name=None) if _is_taken(t, file) else file


def _require_name(t: Transaction, file: File) -> None:
    if _is_taken(t, file):
        raise Conflict(
            f"There is a file with the name '{file.name}' already.",
            remedy="Choose another name, or delete that file.",
            param="name",
            reason="name_taken",
        )


def _is_taken(t: Transaction, file: File) -> bool:
    if file.name is None:
        return False
    t.run("files/free_name", project=file.project, name=file.name, at=file.created_at)
    return t.row("files/by_name", project=file.project, name=file.name, at=file.created_at) is not None


def _add_once(t: Transaction, file: File, quota: Quota | None, once: Once | None) -> File:
    made = made_before(t, file.project, "files", once)
    if made is not None:
        return _convert(t.row("files/made", project=file.project, id=made) or {})
    add_file(t, file, quota)
    remember(t, file.project, "files", once, file.id)
    return file


def _convert(row: Row) -> File:
    return msgspec.convert(row, File)


def _file(row: Row | None) -> File | None:
    return _convert(row) if row else None
