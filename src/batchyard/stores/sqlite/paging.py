"""Pages of lists: from a cursor to rows."""

from collections.abc import Callable
from typing import TypeVar

from batchyard.domain.access import ProjectId
from batchyard.store import Cursor, Direction, Page
from batchyard.stores.sqlite.database import Row, Transaction

T = TypeVar("T")

_BEFORE_ALL = {"created_at": -1, "position": -1}
_AFTER_ALL = {"created_at": (1 << 63) - 1, "position": (1 << 63) - 1}


def page(
    t: Transaction, subject: str, project: ProjectId, cursor: Cursor, read: Callable[[Row], T], **where: object
) -> Page[T] | None:
    """A page of `sql/<subject>/list_*`; None where the cursor names nothing of the project, deleted or not."""
    place = _place(t, subject, project, cursor)
    if place is None:
        return None
    rows = t.rows(
        f"{subject}/list_{cursor.direction}", project=project, limit=cursor.limit + 1, **place, **where
    )  # one more, to know whether there is more
    return Page([read(row) for row in rows[: cursor.limit]], len(rows) > cursor.limit)


def _place(t: Transaction, subject: str, project: ProjectId, cursor: Cursor) -> Row | None:
    if cursor.after is not None:
        return t.row(f"{subject}/place", project=project, id=cursor.after)
    return _BEFORE_ALL if cursor.direction is Direction.ASC else _AFTER_ALL
