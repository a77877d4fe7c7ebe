"""Schemas go forward, once, wholly, and in order."""

import sqlite3
from collections.abc import Iterator

import pytest

from batchyard.stores.sqlite import migrate as module
from batchyard.stores.sqlite.migrate import migrate

FIRST = (1, "CREATE TABLE a (x TEXT);\n-- a comment; with a semicolon\nINSERT INTO a VALUES ('1; 2');\n")
SECOND = (2, "ALTER TABLE a ADD COLUMN y TEXT\n  DEFAULT 'new';\n")
BROKEN = (3, "INSERT INTO a VALUES ('3', 'z');\nINSERT INTO nowhere VALUES (1);\n")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def known(monkeypatch: pytest.MonkeyPatch, *migrations: tuple[int, str]) -> None:
    monkeypatch.setattr(module, "migrations", lambda: list(migrations))


def contents(connection: sqlite3.Connection) -> tuple[int, list[tuple[str, ...]]]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    return version, connection.execute("SELECT * FROM a").fetchall()


def test_an_old_database_is_brought_forward(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, FIRST)
    migrate(connection)
    assert contents(connection) == (1, [("1; 2",)])
    known(monkeypatch, FIRST, SECOND)
    for _ in range(2):
        migrate(connection)
        assert contents(connection) == (2, [("1; 2", "new")])


def test_a_new_database_gets_all_at_once(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, FIRST, SECOND)
    migrate(connection)
    assert contents(connection) == (2, [("1; 2", "new")])


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, FIRST)
    migrate(connection)
    known(monkeypatch, FIRST, SECOND, BROKEN)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection)
    assert contents(connection) == (1, [("1; 2",)])
