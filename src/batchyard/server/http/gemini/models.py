"""`/v1beta/models`: which models there are."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.gemini.models import model_object, page, page_of
from batchyard.server.access import caller_of
from batchyard.server.house import house_of
from batchyard.server.http.gemini.naming import named
from batchyard.server.models import Model
from batchyard.server.paths import GEMINI, GEMINI_CALLS
from batchyard.server.replies import reply


async def list_models(request: Request) -> Response:
    """Models page by page; other names that they go by are not shown."""
    await caller_of(request)
    query, models = request.query_params, {model.name: model for model in house_of(request).models.all()}
    asked = page_of(query.get("pageSize") or query.get("page_size"), query.get("pageToken") or query.get("page_token"))
    names, token = page(list(models), asked)
    listed = {"models": [_shown(models[name]) for name in names]}
    return reply(listed if token is None else listed | {"nextPageToken": token})


async def get_model(request: Request) -> Response:
    """One model, by any of its names."""
    await caller_of(request)
    name = request.path_params["name"]
    if name.rpartition(":")[2] in GEMINI_CALLS:
        raise HTTPException(405, headers={"allow": "POST"})
    return reply(_shown(named(name, lambda: house_of(request).models.find(name))))


def _shown(model: Model) -> dict[str, object]:
    return model_object(model.name, model.abilities.endpoints, model.abilities.context_tokens)


ROUTES = [Route(f"{GEMINI}/models", list_models), Route(f"{GEMINI}/models/{{name:path}}", get_model)]
