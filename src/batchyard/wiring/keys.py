"""Keys and projects of a data folder, beside a server that runs on it or without one."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import SystemRandom

from batchyard.clock import SystemClock
from batchyard.domain.errors import NotFound
from batchyard.offload import ThreadOffload
from batchyard.service.access import Access
from batchyard.service.ids import Ids
from batchyard.stores import sqlite

FACTS = "facts.db"


@asynccontextmanager
async def open_access(folder: str) -> AsyncGenerator[Access]:
    """Who may ask, by the facts in a data folder. Takes no lock: the database keeps its processes apart.

    An empty folder is a server's before its first start. Raises NotFound where there is neither.
    """
    path = f"{folder}/{FACTS}"
    if not Path(path).is_file() and not _is_empty(folder):  # noqa: ASYNC240 - nothing else runs yet
        raise NotFound(
            f"There is no server's data in {folder}.",
            remedy="Name its folder with --data-dir; the first start of batchyard serve makes it, and the first key. "
            "To make a key before that, make an empty folder first.",
        )
    steps = ThreadOffload("facts")
    try:
        store = await sqlite.open(sqlite.Config(path=path), steps)
        try:
            yield Access(store, SystemClock(), Ids(SystemRandom()))
        finally:
            await store.close()
    finally:
        steps.close()


def _is_empty(folder: str) -> bool:
    return Path(folder).is_dir() and not any(Path(folder).iterdir())
