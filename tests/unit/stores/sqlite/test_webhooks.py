"""What the tables of webhooks hold when nobody asks."""

import sqlite3
from contextlib import closing
from pathlib import Path

from batchyard.domain.access import Quota
from batchyard.domain.batch import BatchState
from batchyard.domain.hooks import Hooks
from batchyard.domain.webhook import DeliveryState
from batchyard.stores import sqlite
from tests.support.tenants import START, TurnsOffload, a_batch, a_project, an_endpoint, an_event, changed


async def test_a_batchs_hooks_leave_no_row_behind(tmp_path: Path) -> None:
    path = str(tmp_path / "facts.db")
    store = await sqlite.open(sqlite.Config(path=path), TurnsOffload())
    await store.projects.add(a_project())
    endpoint = an_endpoint()
    await store.webhooks.add(endpoint, 1)
    hooks = Hooks(uris=("https://a.example", "https://b.example"))
    waiting, batch = a_batch(hooks=hooks), a_batch(hooks=hooks)
    for each in (waiting, batch):
        await store.batches.add(each, an_event(each), Quota())
    ended = batch.move(BatchState.FAILED, START)
    await store.batches.move(batch.state, ended, an_event(ended))
    for delivery, _ in await store.webhooks.due(START, 9):
        await store.webhooks.write(changed(delivery, state=DeliveryState.GIVEN_UP))
    assert await store.webhooks.forget(START + 1) == 2
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT only_batch, COUNT(*) FROM webhooks GROUP BY only_batch").fetchall()
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT 1 FROM webhooks WHERE only_batch = 'x'").fetchall()
    assert dict(rows) == {None: 1, waiting.id: 2}
    assert "webhooks_of_batch" in str(plan)
