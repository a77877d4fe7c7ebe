"""The SQLite store: a file beside the blobs, nothing to install, safe against power cuts."""

from msgspec import Struct

from batchyard.offload import Offload
from batchyard.stores.sqlite.batches import SqliteBatches, SqliteEvents
from batchyard.stores.sqlite.database import Database, open_database
from batchyard.stores.sqlite.files import SqliteFiles
from batchyard.stores.sqlite.keys import SqliteKeys, SqliteProjects
from batchyard.stores.sqlite.names import project_names
from batchyard.stores.sqlite.resumables import SqliteResumables
from batchyard.stores.sqlite.spending import SqliteSpending
from batchyard.stores.sqlite.uploads import SqliteUploads
from batchyard.stores.sqlite.webhooks import SqliteWebhooks

__all__ = ["Config", "SqliteStore", "open", "project_names"]


class Config(Struct, frozen=True, kw_only=True):
    """`path` is a file on a local disk (SQLite's locks do not hold on network drives); `:memory:` forgets.

    `busy_seconds` bounds the wait for another process that holds the database locked.
    """

    path: str
    busy_seconds: float = 5.0


class SqliteStore:
    """See the contract."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.projects = SqliteProjects(database)
        self.keys = SqliteKeys(database)
        self.files = SqliteFiles(database)
        self.uploads = SqliteUploads(database)
        self.resumables = SqliteResumables(database)
        self.batches = SqliteBatches(database)
        self.events = SqliteEvents(database)
        self.spending = SqliteSpending(database)
        self.webhooks = SqliteWebhooks(database)

    async def close(self) -> None:
        await self._database.close()


async def open(config: Config, offload: Offload) -> SqliteStore:
    """Open the store, made or brought forward where needed. Raises Unavailable or Conflict with a remedy."""
    return SqliteStore(await open_database(config.path, offload, config.busy_seconds))
