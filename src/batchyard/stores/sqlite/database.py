"""One SQLite database behind one thread: statements by name, transactions as plain functions.

What writes runs through one Offload, so a transaction is a function that is called with a `Transaction` and returns; of
this process's, none interleaves with another. Writes that wait for the thread at the same time share a commit, and so
its sync. Other processes (the command line beside a running server) are kept apart by SQLite's own locks, waited for up
to a bound.

A single row that an index finds is read at once, on the caller's own thread and a connection for nothing else: in the
write-ahead log readers wait for no writer, and such a read takes less time than handing it to a thread.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from batchyard.domain.errors import Invalid, Unavailable
from batchyard.offload import Offload, Together, Wish
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

    def save(self) -> None:
        """Begin a step within the transaction."""
        self._connection.execute("SAVEPOINT step")

    def undo_saved(self) -> None:
        self._connection.execute("ROLLBACK TO step")

    def release_saved(self) -> None:
        self._connection.execute("RELEASE step")


Step = Callable[[Transaction], Any]


class Database:
    """An open database. Made by `open_database`. `quick` is a second connection, only for reading, None where there is
    none (a database in memory has just one)."""

    def __init__(
        self, connection: sqlite3.Connection, offload: Offload, path: str, quick: sqlite3.Connection | None = None
    ) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._quick = quick
        self._offload = offload
        self._path = path
        self._writes: Together[Step] = Together(offload, self._write_together)

    async def look(self, name: str, /, **values: object) -> Row | None:
        """The first row of a statement that an index answers. For calls that must be quick, whatever else goes on."""
        if self._quick is not None:
            with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):  # told, or waited for, by the long way
                return Transaction(self._quick).row(name, **values)
        return await self.read(lambda t: t.row(name, **values))

    async def read(self, step: Callable[[Transaction], T]) -> T:
        """What a step finds, all at one moment."""
        return await self._offload(lambda: self._within("BEGIN", step))

    async def write(self, step: Callable[[Transaction], T]) -> T:
        """Carry a step out; durable when this returns, undone when the step raises.

        It may be carried out a second time where the first was undone together with others.
        """
        return await self._writes(step)

    async def close(self) -> None:
        quick, self._quick = self._quick, None
        if quick is not None:
            quick.close()
        await self._offload(self._close)

    def _write_together(self, wishes: Sequence[Wish[Step]]) -> None:
        """Carry several steps out in one transaction; where that fails on the way, each in one of its own."""
        tried: list[Wish[Step]] = []

        def steps(t: Transaction) -> None:
            for wish in wishes:
                tried.append(wish)
                _attempt(t, wish)

        if len(wishes) > 1:
            try:
                self._within("BEGIN IMMEDIATE", steps)
                return
            except (sqlite3.Error, Unavailable):
                if not tried:
                    raise
        for wish in wishes:
            wish.error = None
            try:
                wish.result = self._within("BEGIN IMMEDIATE", wish.what)
            except Exception as error:
                wish.error = error

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
            raise _no_value(error) from None
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
    connection = await offload(lambda: _connect(path, busy_seconds))
    return Database(connection, offload, path, None if path == MEMORY else await offload(lambda: _connect_quick(path)))


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


def _connect_quick(path: str) -> sqlite3.Connection | None:
    """A connection that never waits for anybody."""
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error:
        return None
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk before anyone hears of it
    connection.execute("PRAGMA trusted_schema = OFF")
    migrate(connection)
    connection.execute("PRAGMA foreign_keys = ON")


def _attempt(t: Transaction, wish: Wish[Step]) -> None:
    """Carry one step out among others: one that raises is undone alone. What ends the transaction ends it for all."""
    t.save()
    try:
        wish.result = wish.what(t)
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        t.undo_saved()
        wish.error = _no_value(error) if isinstance(error, (OverflowError, UnicodeEncodeError)) else error
    t.release_saved()


def _no_value(error: Exception) -> Invalid:
    invalid = Invalid("A value cannot be kept: it is no Unicode text, or beyond 64 bits.")
    invalid.__cause__ = error
    return invalid


def _undo(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # SQLite itself has undone it after some errors
        connection.execute("ROLLBACK")
