"""Data folders that earlier releases left behind are brought forward, and what was under way in them goes on.

`old_folder.py` makes them, at the release that their name says.
"""

import sqlite3
import tarfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.old_folder import LINES
from tests.support.batches import assert_whole, ended, serving
from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli

FOLDERS = sorted(Path(__file__).parent.joinpath("releases").glob("*.tar.gz"))


def test_there_are_folders_of_earlier_releases() -> None:
    assert FOLDERS


def as_of_today(facts: str) -> None:
    """Move every time in a database by what has passed since: its batch would have expired long ago."""
    with closing(sqlite3.connect(facts)) as connection, connection:
        [[last]] = connection.execute("SELECT max(created_at) FROM batches")
        passed = int(time.time()) - last  # noqa: TID251 - as the server's own clock
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
                if column.endswith("_at") or column == "at":
                    connection.execute(f"UPDATE {table} SET {column} = {column} + ?", (passed,))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name.removesuffix(".tar.gz"))
def test_an_earlier_releases_folder_is_served_and_goes_on(cli: Cli, folder: Path) -> None:
    with tarfile.open(folder) as archive:
        archive.extractall(cli.path("."), filter="data")
    as_of_today(str(cli.path("batchyard-data/facts.db")))
    gate = Gate()
    with (
        chatting(gate) as upstream,
        serving(cli, "--model", "m", "--upstream", upstream.url + "v1") as (_, client),
    ):
        running, done = client.batches.list()
        assert (done.status, done.request_counts and done.request_counts.completed) == ("completed", 3)
        assert_whole(client, done, [f"req-{n}" for n in range(3)])
        assert_whole(client, ended(client, running.id), [f"req-{n}" for n in range(LINES)])
    assert 0 < len(gate.asked) < LINES, "what had an answer is not asked again"
