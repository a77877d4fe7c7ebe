"""Webhook endpoints, and the deliveries that events leave for them."""

from collections.abc import Callable, Sequence

import msgspec

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, Form
from batchyard.domain.errors import QuotaExceeded
from batchyard.domain.event import Event
from batchyard.domain.webhook import Delivery, EndpointFields, WebhookEndpoint, WebhookId, hooks_of
from batchyard.store import Cursor, Page
from batchyard.stores.sqlite.database import Database, Row, Transaction
from batchyard.stores.sqlite.paging import page

_JSON = ("event_kinds", "secrets")
"""Columns that hold a value as JSON."""


class SqliteWebhooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, endpoint: WebhookEndpoint, most: int) -> None:
        await self._database.write(lambda t: _add(t, endpoint, most))

    async def get(self, project: ProjectId, id: WebhookId) -> WebhookEndpoint | None:
        return await self._database.read(lambda t: _get(t, project, id))

    async def list(self, project: ProjectId, cursor: Cursor, form: Form | None = None) -> Page[WebhookEndpoint] | None:
        return await self._database.read(lambda t: page(t, "webhooks", project, cursor, _endpoint, form=form))

    async def update(self, project: ProjectId, id: WebhookId, given: EndpointFields, at: int) -> WebhookEndpoint | None:
        return await self._database.write(lambda t: _change(t, project, id, lambda old: old.changed(given, at)))

    async def rotate(
        self, project: ProjectId, id: WebhookId, secret: str, at: int, *, keep_old: bool
    ) -> WebhookEndpoint | None:
        return await self._database.write(
            lambda t: _change(t, project, id, lambda old: old.rotated(secret, at, keep_old=keep_old))
        )

    async def delete(self, project: ProjectId, id: WebhookId, at: int) -> bool:
        return await self._database.write(lambda t: _delete(t, project, id, at))

    async def due(self, at: int, each: int) -> Sequence[tuple[Delivery, WebhookEndpoint]]:
        return await self._database.read(lambda t: _due(t, at, each))

    async def write(self, delivery: Delivery) -> bool:
        values = msgspec.structs.asdict(delivery) | {"event_id": delivery.event.id}
        del values["event"]
        return await self._database.write(lambda t: bool(t.run("webhooks/write", **values)))

    async def forget(self, before: int) -> int:
        return await self._database.write(lambda t: _forget(t, before))


def enqueue(t: Transaction, event: Event) -> None:
    """Leave a delivery of an event for each endpoint that wants to hear of it, within the event's transaction."""
    t.run("webhooks/enqueue", **msgspec.structs.asdict(event))


def add_hooks(t: Transaction, batch: Batch) -> None:
    """Keep a batch's own hooks, within the transaction that adds it."""
    for hook in hooks_of(batch):
        t.run("webhooks/add", **_values(hook))


def _add(t: Transaction, endpoint: WebhookEndpoint, most: int) -> None:
    found = t.row("webhooks/count", project=endpoint.project)
    if found is not None and found["webhooks"] >= most:
        raise QuotaExceeded(
            f"The project's quota of {most} webhook endpoints is used up.",
            remedy="Delete one that is no longer needed.",
            reason="insufficient_quota",
        )
    t.run("webhooks/add", **_values(endpoint))


def _get(t: Transaction, project: ProjectId, id: WebhookId) -> WebhookEndpoint | None:
    row = t.row("webhooks/get", project=project, id=id)
    return _endpoint(row) if row else None


def _change(
    t: Transaction, project: ProjectId, id: WebhookId, change: Callable[[WebhookEndpoint], WebhookEndpoint]
) -> WebhookEndpoint | None:
    before = _get(t, project, id)
    if before is None:
        return None
    after = change(before)
    t.run("webhooks/change", **_values(after))
    return after


def _delete(t: Transaction, project: ProjectId, id: WebhookId, at: int) -> bool:
    if not t.run("webhooks/delete", project=project, id=id, at=at):
        return False
    t.run("webhooks/forget_of", id=id)
    return True


def _due(t: Transaction, at: int, each: int) -> list[tuple[Delivery, WebhookEndpoint]]:
    """The first few of each endpoint, so that one with many does not stand before the others."""
    due: list[tuple[Delivery, WebhookEndpoint]] = []
    waiting = t.row("webhooks/waiting", at=at, after="")
    while waiting is not None and waiting["id"] is not None:
        rows = t.rows("webhooks/due", endpoint_id=waiting["id"], at=at, each=each)
        due += [(_delivery(row), _endpoint(row | {"id": row["endpoint_id"]})) for row in rows]
        waiting = t.row("webhooks/waiting", at=at, after=waiting["id"])
    return sorted(due, key=lambda found: found[0].due_at)


def _forget(t: Transaction, before: int) -> int:
    """Hooks of one batch go with their only delivery."""
    spent = t.rows("webhooks/spent", before=before)
    forgotten = t.run("webhooks/forget", before=before)
    for hook in spent:
        t.run("webhooks/drop", id=hook["id"])
    return forgotten


def _values(endpoint: WebhookEndpoint) -> Row:
    values = msgspec.structs.asdict(endpoint)
    return values | {name: msgspec.json.encode(values[name]).decode() for name in _JSON}


def _endpoint(row: Row) -> WebhookEndpoint:
    read = {name: msgspec.json.decode(row[name]) for name in _JSON}
    return msgspec.convert(row | read | {"enabled": bool(row["enabled"])}, WebhookEndpoint)


def _delivery(row: Row) -> Delivery:
    return msgspec.convert(row | {"event": row | {"id": row["event_id"]}}, Delivery)
