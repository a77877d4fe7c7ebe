"""One SQLite database behind one thread: statements by name, transactions as plain functions.

Everything runs through one Offload, so a transaction is a function that is called with a `Transaction` and returns; of
this process's, none interleaves with another. Other processes (the command line beside a running server) are kept apart
by SQLite's own locks, waited for up to a bound.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from batchyard.domain.errors import Invalid, Unavailable
from batchyard.offload import Offload
from batchyard.stores.sqlite.migrate import migrate

T = TypeVar("T")
Row = dict[str, Any]

MEMORY = ":memory:"
_STATEMENTS = files("batchyard.stores.sqlite").joinpath("sql")


@cache
def statement(name: str) -> str:
    """The SQL of `sql/<name>.sql`."""
    return _STATEMENTS.joinpath(f"{name}.sql").read_text("utf-8")


class Transaction:
    """What a step may do with the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def row(self, name: str, /, **values: object) -> Row | None:
        """The first row of a statement."""
        found = self._connection.execute(statement(name), values).fetchall()
        return dict(found[0]) if found else None

    def rows(self, name: str, /, **values: object) -> list[Row]:
        return [dict(row) for row in self._connection.execute(statement(name), values)]

    def run(self, name: str, /, **values: object) -> int:
        """Carry a statement out; how many rows it changed."""
        return self._connection.execute(statement(name), values).rowcount


class Database:
    """An open database. Made by `open_database`."""

    def __init__(self, connection: sqlite3.Connection, offload: Offload, path: str) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._offload = offload
        self._path = path

    async def read(self, step: Callable[[Transaction], T]) -> T:
        """What a step finds, all at one moment."""
        return await self._offload(lambda: self._within("BEGIN", step))

    async def write(self, step: Callable[[Transaction], T]) -> T:
        """Carry a step out; durable when this returns, undone when the step raises."""
        return await self._offload(lambda: self._within("BEGIN IMMEDIATE", step))

    async def close(self) -> None:
        await self._offload(self._close)

    def _within(self, begin: str, step: Callable[[Transaction], T]) -> T:
        connection = self._connection
        if connection is None:
            raise Unavailable("The database is closed.")
        try:
            connection.execute(begin)
            result = step(Transaction(connection))
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            _undo(connection)
            raise unavailable(self._path, error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            _undo(connection)
            raise Invalid("A value cannot be kept: it is no Unicode text, or beyond 64 bits.") from error
        except BaseException:
            _undo(connection)
            raise
        return result

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


async def open_database(path: str, offload: Offload, busy_seconds: float) -> Database:
    """Open a database, make it where there is none, and bring its schema forward.

    Raises Unavailable where it cannot be opened, Conflict where a newer release has written it.
    """
    return Database(await offload(lambda: _connect(path, busy_seconds)), offload, path)


def unavailable(path: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"The database {path} cannot serve: {error}.",
        remedy="Check the room on its disk, and that no other program holds it locked.",
    )


def _connect(path: str, busy_seconds: float) -> sqlite3.Connection:
    try:
        if path != MEMORY:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it holds secrets
        connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise unavailable(path, error) from error
    try:
        _prepare(connection)
    except sqlite3.Error as error:
        connection.close()
        raise unavailable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk before anyone hears of it
    connection.execute("PRAGMA trusted_schema = OFF")
    migrate(connection)
    connection.execute("PRAGMA foreign_keys = ON")


def _undo(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # SQLite itself has undone it after some errors
        connection.execute("ROLLBACK")
