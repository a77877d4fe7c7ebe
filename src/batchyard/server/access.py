"""Which secret a call carries: `Authorization: Bearer` or `api-key`, either on every path."""

from starlette.datastructures import Headers
from starlette.requests import Request

from batchyard.domain.access import Caller
from batchyard.server.house import house_of
from batchyard.telemetry import logs


async def caller_of(request: Request) -> Caller:
    """Who asks. Raises Unauthorized."""
    caller = await house_of(request).access.authenticate(secret_of(request.headers))
    logs.note(project=caller.project, key_id=caller.key_id)
    return caller


def secret_of(headers: Headers) -> str | None:
    """The secret of a call, or None where it carries none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key", "").strip() or None
