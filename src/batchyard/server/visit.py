"""One call's passage through the doors: what is known of it before any door reads it."""

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope

from batchyard.domain.batch import Form
from batchyard.server.paths import Address

DRAIN_BYTES = 4 << 20


@dataclass(slots=True)
class Visit:
    """A call's id, as its answer's `x-request-id` says it, and where it was addressed.

    `headers` are added to the answer, whatever it will be. `key` is the one that stood in the query: it is taken out
    of there, so that no log of a query can hold it. `drain_bytes` is how much of an unread body is still read before an
    answer, so that the client comes to read that.
    """

    id: str
    address: Address
    path: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    key: str | None = None
    drain_bytes: int = DRAIN_BYTES

    @property
    def form(self) -> Form:
        return self.address.form


def begin(scope: Scope, visit: Visit) -> None:
    """Note the visit in the scope, and send the call on under its plain path."""
    scope["visit"] = visit
    scope["path"] = visit.address.path
    scope["raw_path"] = visit.address.path.encode()


def visit_of(request: Request) -> Visit:
    """The visit of a request."""
    return request.scope["visit"]
