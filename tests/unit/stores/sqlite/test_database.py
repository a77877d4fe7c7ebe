"""The database under the store: what survives, what waits, and for how long."""

import ast
import asyncio
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest

from batchyard.domain.access import ProjectId
from batchyard.domain.errors import Conflict, Invalid, Unavailable
from batchyard.offload import ThreadOffload
from batchyard.stores import sqlite
from batchyard.stores.sqlite.database import Database, Transaction, open_database
from batchyard.stores.sqlite.migrate import migrations
from tests.support.tenants import TurnsOffload, a_project

PACKAGE = files("batchyard.stores.sqlite")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "facts.db")


@pytest.fixture
async def database(path: str) -> AsyncIterator[Database]:
    database = await open_database(path, TurnsOffload(), 0.05)
    yield database
    await database.close()


def pragma(path: str, name: str) -> object:
    with sqlite3.connect(path) as connection:
        found = connection.execute(f"PRAGMA {name}").fetchone()[0]
    connection.close()
    return found


def add(t: Transaction, id: str) -> None:
    t.run("projects/add", id=id, name=id, created_at=0)


async def ids(database: Database) -> list[str]:
    return [row["id"] for row in await database.read(lambda t: t.rows("projects/list"))]


async def test_a_step_that_raises_is_undone(database: Database) -> None:
    def step(t: Transaction) -> None:
        add(t, "a")
        raise KeyError

    with pytest.raises(KeyError):
        await database.write(step)
    await database.write(lambda t: add(t, "b"))
    assert await ids(database) == ["b"]


async def test_a_commit_is_on_the_disk(database: Database, path: str) -> None:
    assert pragma(path, "journal_mode") == "wal"
    synchronous = await database.read(lambda t: t._connection.execute("PRAGMA synchronous").fetchone()[0])  # pyright: ignore[reportPrivateUsage]
    assert synchronous == 2, "FULL"


async def test_references_are_held(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(
            lambda t: t.run("events/add", id="e", project="proj_no", kind="k", batch_id="batch_no", at=0)
        )


async def test_only_its_owner_may_read_the_database(database: Database, path: str) -> None:
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600  # noqa: ASYNC240 - a test may wait


async def test_a_lock_is_waited_for_within_a_bound(database: Database, path: str) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await database.write(lambda t: add(t, "a"))
    assert await ids(database) == []
    other.execute("ROLLBACK")
    other.close()
    await database.write(lambda t: add(t, "a"))
    assert await ids(database) == ["a"]


async def test_a_closed_database_says_so(path: str) -> None:
    database = await open_database(path, TurnsOffload(), 0.05)
    await database.close()
    await database.close()
    with pytest.raises(Unavailable):
        await ids(database)


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
async def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "facts.db"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(Unavailable):
        await open_database(str(path), TurnsOffload(), 0.05)


async def test_opening_again_changes_nothing(path: str) -> None:
    for _ in range(2):
        store = await sqlite.open(sqlite.Config(path=path), TurnsOffload())
        if not await store.projects.list():
            await store.projects.add(a_project())
        assert list(await store.projects.list()) == [a_project()]
        await store.close()
    assert pragma(path, "user_version") == migrations()[-1][0]


async def test_a_newer_database_is_left_alone(path: str) -> None:
    newer = migrations()[-1][0] + 1
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    connection.close()
    with pytest.raises(Conflict, match="newer release"):
        await open_database(path, TurnsOffload(), 0.05)
    assert pragma(path, "user_version") == newer


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_statement_is_used_and_every_used_one_exists() -> None:
    used = {name for module in _modules() for name in _named(module) if name.count("/") == 1 and "." not in name}
    listed = ("files", "batches", "webhooks")
    used |= {f"{subject}/{name}" for subject in listed for name in ("place", "list_asc", "list_desc")}
    folder = PACKAGE.joinpath("sql")
    existing = {f"{subject.name}/{entry.name[:-4]}" for subject in folder.iterdir() for entry in subject.iterdir()}
    assert used == existing


def _modules() -> list[str]:
    return [entry.read_text("utf-8") for entry in PACKAGE.iterdir() if entry.name.endswith(".py")]


def _named(module: str) -> list[str]:
    """First arguments of calls that are plain strings."""
    calls = [node for node in ast.walk(ast.parse(module)) if isinstance(node, ast.Call) and node.args]
    first = [call.args[0] for call in calls]
    return [node.value for node in first if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def write_and_die(path: str) -> int:
    program = """
        import asyncio, os, sys
        from batchyard.domain.access import Project, ProjectId
        from batchyard.offload import ThreadOffload
        from batchyard.stores import sqlite

        async def main():
            store = await sqlite.open(sqlite.Config(path=sys.argv[1]), ThreadOffload())
            for number in range(20):
                await store.projects.add(Project(id=ProjectId(f"p{number}"), name=f"p{number}", created_at=number))
            os.kill(os.getpid(), 9)

        asyncio.run(main())
    """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program), path], check=False, timeout=60).returncode


async def test_what_returned_survives_a_killed_process(path: str) -> None:
    assert write_and_die(path) == -9
    offload = ThreadOffload("facts")
    store = await sqlite.open(sqlite.Config(path=path), offload)
    assert [project.id for project in await store.projects.list()] == [ProjectId(f"p{n}") for n in range(20)]
    await store.close()
    offload.close()


async def test_writes_that_wait_at_the_same_time_share_a_commit(database: Database, path: str) -> None:
    said = list[str]()
    await database.read(lambda t: t._connection.set_trace_callback(said.append))  # pyright: ignore[reportPrivateUsage]
    said.clear()
    async with asyncio.TaskGroup() as group:
        for id in "abcdefgh":
            group.create_task(database.write(lambda t, id=id: add(t, id)))
    assert said.count("COMMIT") == 1 and await ids(database) == list("abcdefgh")


async def test_of_writes_that_share_a_commit_one_that_raises_is_undone_alone(database: Database) -> None:
    def step(t: Transaction) -> None:
        add(t, "b")
        raise KeyError

    ends = await asyncio.gather(
        database.write(lambda t: add(t, "a")),
        database.write(step),
        database.write(lambda t: t.run("projects/add", id="\ud800", name="x", created_at=0)),
        database.write(lambda t: add(t, "c")),
        return_exceptions=True,
    )
    assert [type(end) for end in ends] == [type(None), KeyError, Invalid, type(None)]
    assert await ids(database) == ["a", "c"]


async def test_where_a_shared_transaction_is_lost_each_write_has_its_own(database: Database) -> None:
    def lose(t: Transaction) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    ends = await asyncio.gather(
        database.write(lambda t: add(t, "a")),
        database.write(lose),
        database.write(lambda t: add(t, "c")),
        return_exceptions=True,
    )
    assert [type(end) for end in ends] == [type(None), Unavailable, type(None)]
    assert await ids(database) == ["a", "c"]


async def test_a_lock_is_waited_for_once_by_all_who_share_a_commit(database: Database, path: str) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.perf_counter()
    writes = (database.write(lambda t, id=id: add(t, id)) for id in "abcdefghijklmnopqrst")
    ends = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(end) for end in ends} == {Unavailable} and time.perf_counter() - began < 0.05 * 10
    other.close()


async def test_a_row_is_read_at_once_while_another_transaction_is_under_way(path: str) -> None:
    offload, begun, go = ThreadOffload("facts"), threading.Event(), threading.Event()
    database = await open_database(path, offload, 5)
    await database.write(lambda t: add(t, "a"))

    def slow(t: Transaction) -> None:
        add(t, "b")
        begun.set()
        assert go.wait(30)

    async with asyncio.TaskGroup() as group:
        group.create_task(database.write(slow))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        assert await database.look("projects/get", id="a") is not None
        assert await database.look("projects/get", id="b") is None, "not yet"
        go.set()
    assert await database.look("projects/get", id="b") is not None
    await database.close()
    offload.close()
