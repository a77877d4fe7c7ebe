"""Which secret a call carries: `Authorization: Bearer` or `api-key`, either on every path."""

from starlette.datastructures import Headers
from starlette.requests import Request

from batchyard.domain.access import Caller
from batchyard.domain.errors import Forbidden
from batchyard.server.house import house_of
from batchyard.server.options import is_loopback
from batchyard.telemetry import logs


async def caller_of(request: Request) -> Caller:
    """Who asks. Raises Unauthorized; and Forbidden where no keys are needed and a web page may be asking."""
    access = house_of(request).access
    if not access.keys:
        _require_program(request)
    caller = await access.authenticate(secret_of(request.headers))
    logs.note(project=caller.project, key_id=caller.key_id)
    return caller


def _require_program(request: Request) -> None:
    """Let no web page act for whoever looks at it: pages of others tell their origin, or reach us by another name."""
    if "origin" in request.headers or not is_loopback(request.url.hostname or ""):
        raise Forbidden(
            "This server needs no keys, so it answers to programs on this machine only, not to web pages.",
            remedy="Call it as http://127.0.0.1 or http://localhost, or let it need keys.",
        )


def secret_of(headers: Headers) -> str | None:
    """The secret of a call, or None where it carries none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key", "").strip() or None
