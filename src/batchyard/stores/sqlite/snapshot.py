"""A database at one moment, in a file of its own, while others go on writing to it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from batchyard.domain.errors import Invalid, Unavailable
from batchyard.stores.sqlite.database import statement, unavailable

_PAGES = 1000
"""How many pages are copied before other programs may write again."""


class Needed(Struct, frozen=True):
    """A blob that a database speaks of. `bytes` and `sha256` are None where it does not say."""

    key: str
    bytes: int | None
    sha256: str | None


def take(path: str, target: str) -> None:
    """Copy the database at `path` to a new file, as it was at one moment. Blocks. Raises Unavailable."""
    if not Path(path).is_file():
        raise Unavailable(f"There is no database at {path}.", remedy="Give the data folder of a server.")
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy, pages=_PAGES)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whole in itself
    except sqlite3.Error as error:
        raise unavailable(path, error) from error


def check(path: str) -> int:
    """The number of a database's schema. Raises Invalid where it is broken, or is none of ours."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise Invalid(f"{path} is no database: {error}.", remedy="Take the backup again.") from error
    if found != "ok" or not schema:
        raise Invalid(f"The database {path} is broken: {found}.", remedy="Take the backup again.")
    return schema


def needed(path: str) -> list[Needed]:
    """Every blob that the database at `path` needs."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return [Needed(*row) for row in connection.execute(statement("snapshot/blobs"))]
