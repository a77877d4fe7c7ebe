"""Projects and their keys."""

from collections.abc import Sequence

import msgspec

from batchyard.domain.access import Key, KeyId, Project, ProjectId
from batchyard.domain.errors import Conflict
from batchyard.stores.sqlite.database import Database, Row, Transaction


class SqliteProjects:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, project: Project) -> None:
        await self._database.write(lambda t: _add_project(t, project))

    async def get(self, id: ProjectId) -> Project | None:
        row = await self._database.read(lambda t: t.row("projects/get", id=id))
        return msgspec.convert(row, Project) if row else None

    async def list(self) -> Sequence[Project]:
        rows = await self._database.read(lambda t: t.rows("projects/list"))
        return [msgspec.convert(row, Project) for row in rows]


class SqliteKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: Key) -> None:
        await self._database.write(lambda t: _add_key(t, key))

    async def found(self, project: Project, key: Key) -> bool:
        return await self._database.write(lambda t: _found(t, project, key))

    async def get(self, project: ProjectId, id: KeyId) -> Key | None:
        return _key(await self._database.read(lambda t: t.row("keys/get", project=project, id=id)))

    async def by_prefix(self, prefix: str) -> Key | None:
        return _key(await self._database.look("keys/by_prefix", prefix=prefix))

    async def list(self, project: ProjectId) -> Sequence[Key]:
        rows = await self._database.read(lambda t: t.rows("keys/list", project=project))
        return [msgspec.convert(row, Key) for row in rows]

    async def revoke(self, project: ProjectId, id: KeyId, at: int) -> Key | None:
        return _key(await self._database.write(lambda t: t.row("keys/revoke", project=project, id=id, at=at)))

    async def rotate(self, old: KeyId, new: Key, old_expires_at: int) -> bool:
        return await self._database.write(lambda t: _rotate(t, old, new, old_expires_at))

    async def touch(self, id: KeyId, at: int) -> None:
        await self._database.write(lambda t: t.run("keys/touch", id=id, at=at))


def _key(row: Row | None) -> Key | None:
    return msgspec.convert(row, Key) if row else None


def _add_project(t: Transaction, project: Project) -> None:
    if not t.run("projects/add", **msgspec.structs.asdict(project)):
        raise Conflict(f"There is already a project named {project.name!r}.", param="name")


def _add_key(t: Transaction, key: Key) -> None:
    t.run("keys/add", **msgspec.structs.asdict(key))


def _found(t: Transaction, project: Project, key: Key) -> bool:
    any_key = t.row("keys/any")
    if any_key is None or any_key["found"]:
        return False
    t.run("projects/add", **msgspec.structs.asdict(project))
    _add_key(t, key)
    return True


def _rotate(t: Transaction, old: KeyId, new: Key, old_expires_at: int) -> bool:
    if not t.run("keys/end", project=new.project, id=old, expires_at=old_expires_at):
        return False
    _add_key(t, new)
    return True
