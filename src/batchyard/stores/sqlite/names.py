"""A look at a database that somebody else may be working with."""

import sqlite3
from contextlib import closing
from urllib.parse import quote


def project_names(path: str) -> frozenset[str] | None:
    """The names of all projects; None where there is no database, or none that can be looked at. Changes nothing."""
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
            return frozenset(name for (name,) in connection.execute("SELECT name FROM projects"))
    except sqlite3.Error:
        return None
