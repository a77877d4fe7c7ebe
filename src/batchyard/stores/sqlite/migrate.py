"""Bring a database's schema forward: `migrations/NNNN_*.sql`, each applied once, in order, in one transaction.

The database's `user_version` is the number of the last one. A released migration is never changed; a new need is a new
file. There is no way back but a backup.
"""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from batchyard.domain.errors import Conflict


def migrations() -> list[tuple[int, str]]:
    """Number and text of each, in order."""
    folder = files("batchyard.stores.sqlite").joinpath("migrations")
    found = [
        (int(entry.name[:4]), entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".sql")
    ]
    return sorted(found)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what the database has not seen. Raises Conflict where it has seen what we do not know."""
    known = migrations()
    newest = known[-1][0]
    if _version(connection) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # again: another process may have been quicker
        if version > newest:
            raise Conflict(
                f"The database was written by a newer release (schema {version}, this one knows {newest}).",
                remedy="Use that release, or restore a backup made by this one.",
            )
        for number, text in known:
            if number > version:
                for statement in _statements(text):
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(text: str) -> Iterator[str]:
    """The statements of a script. (`executescript` would end our transaction.)"""
    statement = ""
    for piece in text.splitlines(keepends=True):
        statement += piece
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
