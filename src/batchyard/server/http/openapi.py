"""`/openapi.json`: what all doors take and answer, for programs, without a key."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.server.replies import JSON


async def get_document(request: Request) -> Response:
    """The OpenAPI document, which `build_app` makes of its routes."""
    return Response(request.app.state.document, media_type=JSON)


ROUTES = [Route("/openapi.json", get_document)]
