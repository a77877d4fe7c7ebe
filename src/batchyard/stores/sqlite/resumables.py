"""Files on their way as one blob that grows."""

from collections.abc import Sequence

import msgspec

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.file import File
from batchyard.domain.resumable import Resumable, ResumableId
from batchyard.stores.sqlite.database import Database, Row, Transaction
from batchyard.stores.sqlite.files import add_file
from batchyard.stores.sqlite.limits import require_room


class SqliteResumables:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, resumable: Resumable) -> None:
        await self._database.write(lambda t: t.run("resumables/add", **msgspec.structs.asdict(resumable)))

    async def by_secret(self, secret_hash: bytes) -> Resumable | None:
        return _resumable(await self._database.look("resumables/by_secret", secret_hash=secret_hash))

    async def grow(
        self, project: ProjectId, id: ResumableId, before: int, received: int, quota: Quota, at: int
    ) -> bool:
        return await self._database.write(lambda t: _grow(t, project, id, before, received, quota, at))

    async def complete(self, project: ProjectId, id: ResumableId, file: File, quota: Quota, at: int) -> bool:
        return await self._database.write(lambda t: _complete(t, project, id, file, quota, at))

    async def cancel(self, project: ProjectId, id: ResumableId, at: int) -> Resumable | None:
        return _resumable(
            await self._database.write(lambda t: t.row("resumables/cancel", project=project, id=id, at=at))
        )

    async def expire(self, at: int) -> int:
        return await self._database.write(lambda t: _expire(t, at))

    async def dead(self, limit: int) -> Sequence[Resumable]:
        rows = await self._database.read(lambda t: t.rows("resumables/dead", limit=limit))
        return [msgspec.convert(row, Resumable) for row in rows]

    async def forget(self, ids: Sequence[ResumableId]) -> None:
        listed = msgspec.json.encode(ids).decode()
        await self._database.write(lambda t: t.run("resumables/forget", ids=listed))


def _grow(
    t: Transaction, project: ProjectId, id: ResumableId, before: int, received: int, quota: Quota, at: int
) -> bool:
    require_room(t, project, quota, at, files=0, size=received, but=id)
    return bool(t.run("resumables/grow", project=project, id=id, before=before, received=received, at=at))


def _complete(t: Transaction, project: ProjectId, id: ResumableId, file: File, quota: Quota, at: int) -> bool:
    if not t.run("resumables/complete", project=project, id=id, received=file.bytes, at=at):
        return False
    add_file(t, file, quota, but=id)
    return True


def _expire(t: Transaction, at: int) -> int:
    t.run("resumables/forget_completed", at=at)
    return t.run("resumables/expire", at=at)


def _resumable(row: Row | None) -> Resumable | None:
    return msgspec.convert(row, Resumable) if row else None
