"""The calls that a model answers at once: contents, whole or in pieces, embeddings, and the counting of tokens."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.gemini import calls
from batchyard.dialects.gemini.answer import from_chat, from_pictures
from batchyard.dialects.gemini.count import count_tokens
from batchyard.dialects.gemini.embed import EMBEDDINGS, vectors_of
from batchyard.dialects.gemini.errors import broken_off, envelope, refused
from batchyard.dialects.gemini.generate import CHAT, Asked
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.stream import Pieces
from batchyard.dialects.gemini.unfit import Rpc
from batchyard.dialects.refusal import Refusal
from batchyard.domain.access import Action
from batchyard.domain.result import Failure, Reply
from batchyard.server.access import caller_of
from batchyard.server.body import read_body
from batchyard.server.house import House, house_of
from batchyard.server.http.gemini.naming import named
from batchyard.server.models import Model
from batchyard.server.paths import GEMINI
from batchyard.server.replies import JSON, refuse, reply
from batchyard.server.told import EVENTS, Told
from batchyard.server.tolls import Toll
from batchyard.server.visit import visit_of
from batchyard.service.access import require

Read = Callable[[bytes, str, int], Any]
"""Reads a body that its path sends to a model, within a depth."""


class _Call(Struct, frozen=True):
    """One call that was let in: to which model, by which name, with which body."""

    house: House
    name: str
    model: Model
    endpoint: str
    body: bytes
    toll: Toll
    id: str

    async def asked(self, request: Request) -> Reply:
        ask = self.house.interactive.ask(
            self.model,
            self.endpoint,
            self.body,
            project=self.toll.caller.project,
            call_id=self.id,
            receive=request.receive,
        )
        return await self.toll.paid(ask)


async def generate(request: Request) -> Response:
    """`:generateContent`"""
    wanted = await _read(request, calls.generation)
    call = await _enter(request, wanted.endpoint, wanted.body)
    return _whole(await call.asked(request), lambda answer: _response(call, wanted, answer))


async def stream(request: Request) -> Response:
    """`:streamGenerateContent`: events where `alt=sse` asks for them, otherwise a JSON array that grows."""
    wanted = await _read(request, calls.generation)
    call = await _enter(request, wanted.endpoint, wanted.body)
    events = request.query_params.get("alt") == "sse"
    pieces = Pieces(call.name, call.id, wanted.manner, events=events)
    media_type = EVENTS if events else JSON

    def whole(answered: Reply) -> Response:
        return _whole(
            answered, lambda answer: _response(call, wanted, answer),
            lambda told: Response(pieces.whole(told), media_type=media_type),
        )  # fmt: skip

    return Told(
        lambda say, receive: call.toll.paid(
            call.house.interactive.stream(
                call.model, call.endpoint, call.body, say,
                project=call.toll.caller.project, call_id=call.id, receive=receive,
            )
        ),
        pieces, whole, broken_off, media_type,
    )  # fmt: skip


async def embed(request: Request) -> Response:
    """`:embedContent`"""
    return await _embed(request, calls.embedding, lambda vectors: {"embedding": vectors[0]})


async def embed_many(request: Request) -> Response:
    """`:batchEmbedContents`: all texts in one call of the engine."""
    return await _embed(request, calls.embeddings, lambda vectors: {"embeddings": vectors})


async def count(request: Request) -> Response:
    """`:countTokens`: an estimate."""
    wanted: Asked = await _read(request, calls.counted)
    name = request.path_params["name"]
    named(name, lambda: house_of(request).models.find(name))
    return reply(count_tokens(wanted.body))


async def _embed(request: Request, read: Read, told: Callable[[list[Json]], Json]) -> Response:
    wanted: calls.Vectors = await _read(request, read)
    call = await _enter(request, EMBEDDINGS, wanted.body)
    return _whole(
        await call.asked(request), lambda answer: told(vectors_of(answer, [each.values for each in wanted.asked]))
    )


async def _read(request: Request, read: Read) -> Any:
    """What a call asks, once it is known who asks. Raises Unfit."""
    caller, limits = await caller_of(request), house_of(request).limits
    require(caller, Action.USE_MODELS)
    return read(await read_body(request, limits.inference_bytes), request.path_params["name"], limits.json_depth)


async def _enter(request: Request, endpoint: str, body: Json) -> _Call:
    """Let a call in: its model answers, and its project has not asked too much."""
    caller, house, visit = await caller_of(request), house_of(request), visit_of(request)
    name = request.path_params["name"]
    model = named(name, lambda: house.model_for(name, endpoint))
    encoded = msgspec.json.encode({"model": model.asked_as, **body})
    toll = house.tolls.enter(caller, model, endpoint, encoded, visit.headers)
    return _Call(house, name, model, endpoint, encoded, toll, visit.id)


def _response(call: _Call, wanted: Asked, answer: Json) -> Json:
    if wanted.endpoint == CHAT:
        return from_chat({"id": call.id, **answer}, call.name, wanted.manner)
    return from_pictures(answer, call.name, call.id)


def _whole(answered: Reply, told: Callable[[Json], Json], say: Callable[[Json], Response] = reply) -> Response:
    """The answer to a call, of what its model replied. Raises Unfit where the model cannot give what was asked."""
    if isinstance(answered, Failure) or not answered.ok:
        return refuse(refused(answered))
    try:
        response = told(cast("Json", msgspec.json.decode(answered.body)))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return refuse(Refusal(500, envelope(Rpc.INTERNAL, f"The model's answer has another shape: {error}.")))
    return say(response)


_CALLS: dict[str, Callable[[Request], Awaitable[Response]]] = {
    "generateContent": generate,
    "streamGenerateContent": stream,
    "embedContent": embed,
    "batchEmbedContents": embed_many,
    "countTokens": count,
}
ROUTES = [Route(f"{GEMINI}/models/{{name:path}}:{word}", door, methods=["POST"]) for word, door in _CALLS.items()]
