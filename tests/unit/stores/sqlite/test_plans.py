"""No statement walks through everything that ever was, however old a server grows."""

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files

import pytest

from batchyard.stores.sqlite.migrate import migrate

SQL = files("batchyard.stores.sqlite").joinpath("sql")
STATEMENTS = [f"{folder.name}/{entry.name}" for folder in SQL.iterdir() for entry in folder.iterdir()]
SMALL = {"projects/list.sql", "uploads/dead_parts.sql"}
"""These walk through tables that stay small: projects, and parts, which go once their upload has ended."""


WHOLE = {"snapshot/blobs.sql"}
"""A backup looks at all there is."""


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", sorted(set(STATEMENTS) - WHOLE))
def test_a_statement_finds_its_rows_by_an_index(connection: sqlite3.Connection, name: str) -> None:
    text = SQL.joinpath(name).read_text("utf-8")
    values = dict.fromkeys(re.findall(r":(\w+)", text))
    plan = [step[3] for step in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    walks = [step for step in plan if re.match(r"SCAN (?!json_each|CONSTANT|.* USING (COVERING )?INDEX)", step)]
    assert walks == [] or name in SMALL, plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
