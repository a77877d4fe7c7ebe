"""Is it alive, does it take work, what does it measure: for supervisors and Prometheus, without a key."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.server.house import house_of
from batchyard.server.replies import reply
from batchyard.telemetry.metrics import CONTENT_TYPE


async def healthz(request: Request) -> Response:
    """The process answers."""
    return reply({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 while the server takes work; 503 and why, while it starts or stops. Either way how each model stands."""
    house = house_of(request)
    models = house.models.states()
    if house.ready is None:
        return reply({"status": "ready", "models": models})
    return reply({"status": "not ready", "reason": house.ready, "models": models}, 503)


async def metrics(request: Request) -> Response:
    """Everything measured, in Prometheus' text form."""
    return Response(house_of(request).metrics.page(), headers={"content-type": CONTENT_TYPE})


ROUTES = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
