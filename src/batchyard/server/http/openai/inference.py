"""The calls that a model answers at once: chat, completions, embeddings, responses, score, rerank, pictures."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai import inference as wire
from batchyard.dialects.openai.stream import STREAMED, stream, telling
from batchyard.domain.access import Action
from batchyard.domain.errors import Invalid
from batchyard.domain.result import Failure, Reply
from batchyard.server.access import caller_of
from batchyard.server.body import read_body
from batchyard.server.house import House, house_of
from batchyard.server.models import Model
from batchyard.server.paths import MODEL_CALLS
from batchyard.server.replies import JSON, refuse
from batchyard.server.told import EVENTS, HEADERS, Told
from batchyard.server.visit import visit_of
from batchyard.service.access import require


def door(endpoint: str) -> Callable[[Request], Awaitable[Response]]:
    """The door of one endpoint, by its canonical path."""

    async def infer(request: Request) -> Response:
        caller, house, visit = await caller_of(request), house_of(request), visit_of(request)
        require(caller, Action.USE_MODELS)
        call = await _read(request, house, endpoint)
        model = house.model_for(call.model, endpoint)
        body = call.body if model.asked_as == call.model else wire.named(call.body, model.asked_as)
        toll = house.tolls.enter(caller, model, endpoint, body, visit.headers)
        if call.stream:
            return Told(
                lambda say, receive: toll.paid(
                    house.interactive.stream(
                        model, endpoint, body, say, project=caller.project, call_id=visit.id, receive=receive
                    )
                ),
                telling(endpoint, include_usage=call.include_usage, model=_called(model)),
                lambda reply: _answer(endpoint, call, reply),
            )
        ask = house.interactive.ask(
            model, endpoint, body, project=caller.project, call_id=visit.id, receive=request.receive
        )
        reply = await toll.paid(ask)
        return _answer(endpoint, call, reply)

    return infer


async def _read(request: Request, house: House, endpoint: str) -> wire.Call:
    body = await read_body(request, house.limits.inference_bytes)
    call = wire.read_call(endpoint, body, model=visit_of(request).address.model, depth=house.limits.json_depth)
    if call.stream and endpoint not in STREAMED:
        raise Invalid(f"Streaming is not supported for {endpoint}.", reason="invalid_value", param="stream")
    return call


def _called(model: Model) -> str | None:
    """What a stream calls its model: an upstream's is ours where it goes by a name of ours."""
    return None if model.asked_as == model.name else model.name


def _answer(endpoint: str, call: wire.Call, reply: Reply) -> Response:
    if isinstance(reply, Failure):
        return refuse(wire.refused(reply))
    if reply.status in wire.REFUSES_US:
        return refuse(wire.refused_upstream(reply.status))
    body = wire.body_of(reply, call)
    if reply.ok and call.stream:
        events = stream(endpoint, body, include_usage=call.include_usage)
        return Response(events, headers=HEADERS, media_type=EVENTS)
    response = Response(body, reply.status, media_type=JSON)
    if reply.retry_after_seconds is not None:
        response.headers["retry-after"] = f"{reply.retry_after_seconds:g}"
    return response


ROUTES = [Route(path, door("/v1" + path), methods=["POST"]) for path in MODEL_CALLS]
