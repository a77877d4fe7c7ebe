"""`/v1/models`: which models there are."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.objects import model_object
from batchyard.server.access import caller_of
from batchyard.server.house import house_of
from batchyard.server.replies import reply


async def list_models(request: Request) -> Response:
    """All models; this list has no pages."""
    await caller_of(request)
    data = [model_object(m.name, m.created, m.owned_by) for m in house_of(request).models.all()]
    return reply({"object": "list", "data": data})


async def get_model(request: Request) -> Response:
    """One model; its name may hold slashes, encoded or not."""
    await caller_of(request)
    model = house_of(request).models.find(request.path_params["name"])
    return reply(model_object(model.name, model.created, model.owned_by))


ROUTES = [Route("/models", list_models), Route("/models/{name:path}", get_model)]
