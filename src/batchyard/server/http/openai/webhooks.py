"""`/v1/webhook_endpoints`: where a project wants to hear of its batches."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.calls import list_call
from batchyard.dialects.openai.objects import page
from batchyard.dialects.openai.webhooks import (
    deleted_endpoint,
    endpoint_fields,
    endpoint_object,
    rotation_fields,
    trial_fields,
    trial_object,
)
from batchyard.server.access import caller_of
from batchyard.server.body import read_call
from batchyard.server.house import house_of
from batchyard.server.replies import reply


async def create_endpoint(request: Request) -> Response:
    """A new endpoint, with its secret, which is shown here only."""
    caller = await caller_of(request)
    asked = await read_call(request, endpoint_fields)
    return reply(endpoint_object(await house_of(request).webhooks.create(caller, asked), secret=True))


async def list_endpoints(request: Request) -> Response:
    """A page of the project's endpoints, newest first."""
    caller = await caller_of(request)
    call = list_call(request.query_params)
    found = await house_of(request).webhooks.list(caller, after=call.after, limit=call.limit, direction=call.direction)
    return reply(page([endpoint_object(each) for each in found.rows], more=found.more))


async def get_endpoint(request: Request) -> Response:
    """One endpoint."""
    caller = await caller_of(request)
    return reply(endpoint_object(await house_of(request).webhooks.get(caller, request.path_params["id"])))


async def update_endpoint(request: Request) -> Response:
    """Change what is given of an endpoint."""
    caller = await caller_of(request)
    asked = await read_call(request, endpoint_fields)
    return reply(endpoint_object(await house_of(request).webhooks.update(caller, request.path_params["id"], asked)))


async def delete_endpoint(request: Request) -> Response:
    """Delete an endpoint, with what is due to it."""
    caller = await caller_of(request)
    id = request.path_params["id"]
    await house_of(request).webhooks.delete(caller, id)
    return reply(deleted_endpoint(id))


async def rotate_secret(request: Request) -> Response:
    """The endpoint with a new secret, which is shown here only."""
    caller = await caller_of(request)
    keep = await read_call(request, rotation_fields)
    id = request.path_params["id"]
    rotated = await house_of(request).webhooks.rotate_secret(caller, id, keep_old=keep)
    return reply(endpoint_object(rotated, secret=True))


async def try_endpoint(request: Request) -> Response:
    """Send a signed event of a batch that never was, and say what came back."""
    caller = await caller_of(request)
    kind = await read_call(request, trial_fields)
    return reply(trial_object(await house_of(request).webhooks.test(caller, request.path_params["id"], kind)))


async def list_event_types(request: Request) -> Response:
    """What can be heard of; this list has no pages."""
    caller = await caller_of(request)
    return reply({"object": "list", "data": list(house_of(request).webhooks.kinds(caller))})


ROUTES = [
    Route("/webhook_endpoints", create_endpoint, methods=["POST"]),
    Route("/webhook_endpoints", list_endpoints),
    Route("/webhook_endpoints/{id}", get_endpoint),
    Route("/webhook_endpoints/{id}", update_endpoint, methods=["POST"]),
    Route("/webhook_endpoints/{id}", delete_endpoint, methods=["DELETE"]),
    Route("/webhook_endpoints/{id}/rotate_secret", rotate_secret, methods=["POST"]),
    Route("/webhook_endpoints/{id}/test", try_endpoint, methods=["POST"]),
    Route("/webhook_event_types", list_event_types),
]
