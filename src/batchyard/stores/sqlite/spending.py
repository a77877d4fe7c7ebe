"""What projects have spent: one row for each day, project, model, kind and currency, added to."""

from collections.abc import Sequence

import msgspec

from batchyard.domain.access import ProjectId
from batchyard.domain.price import Spent
from batchyard.domain.result import Usage
from batchyard.stores.sqlite.database import Database, Row, Transaction


class SqliteSpending:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, spent: Sequence[Spent]) -> None:
        await self._database.write(lambda t: _add_all(t, spent))

    async def between(self, first: int, end: int, project: ProjectId | None = None) -> Sequence[Spent]:
        rows = await self._database.read(lambda t: t.rows("spending/between", first=first, end=end, project=project))
        return [_convert(row) for row in rows]


def add_spent(t: Transaction, spent: Spent) -> None:
    """Add what was used to its row."""
    values = msgspec.structs.asdict(spent) | {"currency": spent.currency or ""}
    del values["usage"]
    t.run("spending/add", **values, **msgspec.structs.asdict(spent.usage))


def _add_all(t: Transaction, spent: Sequence[Spent]) -> None:
    for each in spent:
        add_spent(t, each)


def _convert(row: Row) -> Spent:
    usage = Usage(*(row[f"{kind}_tokens"] for kind in ("input", "output", "cached", "reasoning")))
    read = {"usage": usage, "batch": bool(row["batch"]), "currency": row["currency"] or None}
    return msgspec.convert(row | read, Spent)
