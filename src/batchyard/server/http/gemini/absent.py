"""What the Gemini wire has and this server does not offer there: it says so, where another path is simply not known."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.domain.errors import Unsupported
from batchyard.server.access import caller_of
from batchyard.server.paths import GEMINI

_METHODS = ["GET", "POST", "PATCH", "DELETE"]
_ROOMS = ("cachedContents",)


async def absent(request: Request) -> Response:
    """No call here is answered."""
    await caller_of(request)
    raise Unsupported(
        "Cached contents are not served on Gemini's wire.",
        remedy="Send the contents with each request: engines keep what prompts have in common.",
    )


ROUTES = [
    *(Route(f"{GEMINI}/{room}", absent, methods=_METHODS) for room in _ROOMS),
    *(Route(f"{GEMINI}/{room}/{{rest:path}}", absent, methods=_METHODS) for room in _ROOMS),
]
