"""Uploads and their parts."""

from collections.abc import Sequence

import msgspec

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.errors import TooLarge
from batchyard.domain.file import File
from batchyard.domain.upload import Part, PartId, Upload, UploadId
from batchyard.store import Once
from batchyard.stores.sqlite.database import Database, Row, Transaction
from batchyard.stores.sqlite.files import add_file
from batchyard.stores.sqlite.limits import made_before, remember, require_room


class SqliteUploads:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, upload: Upload, once: Once | None = None) -> Upload:
        return await self._database.write(lambda t: _add_once(t, upload, once))

    async def get(self, project: ProjectId, id: UploadId) -> Upload | None:
        return _upload(await self._database.read(lambda t: t.row("uploads/get", project=project, id=id)))

    async def add_part(self, project: ProjectId, part: Part, quota: Quota, max_parts: int, at: int) -> bool:
        return await self._database.write(lambda t: _add_part(t, project, part, quota, max_parts, at))

    async def parts(self, upload: UploadId) -> Sequence[Part]:
        rows = await self._database.read(lambda t: t.rows("uploads/parts", upload_id=upload))
        return [msgspec.convert(row, Part) for row in rows]

    async def complete(
        self, project: ProjectId, id: UploadId, part_ids: Sequence[PartId], file: File, quota: Quota, at: int
    ) -> Upload | None:
        return await self._database.write(lambda t: _complete(t, project, id, part_ids, file, quota, at))

    async def cancel(self, project: ProjectId, id: UploadId, at: int) -> Upload | None:
        return _upload(await self._database.write(lambda t: t.row("uploads/cancel", project=project, id=id, at=at)))

    async def expire(self, at: int) -> int:
        return await self._database.write(lambda t: t.run("uploads/expire", at=at))

    async def dead_parts(self, limit: int) -> Sequence[Part]:
        rows = await self._database.read(lambda t: t.rows("uploads/dead_parts", limit=limit))
        return [msgspec.convert(row, Part) for row in rows]

    async def forget_parts(self, ids: Sequence[PartId]) -> None:
        await self._database.write(lambda t: t.run("uploads/forget_parts", ids=_json(ids)))


def _add_once(t: Transaction, upload: Upload, once: Once | None) -> Upload:
    made = made_before(t, upload.project, "uploads", once)
    if made is not None:
        return _convert(t.row("uploads/get", project=upload.project, id=made) or {})
    t.run("uploads/add", **msgspec.structs.asdict(upload) | {"part_ids": _json(upload.part_ids)})
    remember(t, upload.project, "uploads", once, upload.id)
    return upload


def _add_part(t: Transaction, project: ProjectId, part: Part, quota: Quota, max_parts: int, at: int) -> bool:
    pending = t.row("uploads/pending", project=project, id=part.upload_id, at=at)
    if pending is None:
        return False
    if pending["parts"] >= max_parts:
        raise TooLarge(f"An upload has at most {max_parts} parts.", remedy="Send bigger parts.", param="data")
    require_room(t, project, quota, at, files=0, size=part.bytes)
    t.run("uploads/add_part", **msgspec.structs.asdict(part))
    return True


def _complete(
    t: Transaction, project: ProjectId, id: UploadId, part_ids: Sequence[PartId], file: File, quota: Quota, at: int
) -> Upload | None:
    if t.row("uploads/pending", project=project, id=id, at=at) is None:
        return None
    add_file(t, file, quota, but=id)
    return _upload(t.row("uploads/complete", project=project, id=id, at=at, file_id=file.id, part_ids=_json(part_ids)))


def _json(ids: Sequence[PartId]) -> str:
    return msgspec.json.encode(ids).decode()


def _convert(row: Row) -> Upload:
    return msgspec.convert(row | {"part_ids": msgspec.json.decode(row["part_ids"])}, Upload)


def _upload(row: Row | None) -> Upload | None:
    return _convert(row) if row else None
