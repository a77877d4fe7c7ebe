"""Answers responses requests with an engine that only knows chats, by saying them as chats."""

from typing import Any, cast

import msgspec

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.endpoint import Problem
from batchyard.endpoints.chat import Chat
from batchyard.endpoints.responses import Responses, from_chat, to_chat
from batchyard.engine import Abilities, Engine


class Translating:
    """An engine with `/v1/responses` added where it has chats but no responses; otherwise the engine as it is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._translates = False

    async def start(self) -> Abilities:
        abilities = await self._engine.start()
        endpoints = abilities.endpoints
        self._translates = Chat.path in endpoints and Responses.path not in endpoints
        if self._translates:
            return msgspec.structs.replace(abilities, endpoints=endpoints | {Responses.path})
        return abilities

    async def infer(self, request: Request) -> Reply:
        if not self._translates or request.endpoint != Responses.path:
            return await self._engine.infer(request)
        chat = to_chat(request.body)
        if isinstance(chat, Problem):
            return _refusal(chat)
        reply = await self._engine.infer(msgspec.structs.replace(request, endpoint=Chat.path, body=chat))
        return _as_response(reply, request)

    async def close(self) -> None:
        await self._engine.close()


def _as_response(reply: Reply, request: Request) -> Reply:
    if isinstance(reply, Failure) or not reply.ok:
        return reply
    try:
        return msgspec.structs.replace(reply, body=from_chat(reply.body, request.body))
    except (msgspec.DecodeError, ValueError) as error:
        return Failure("bad_answer", f"The engine's answer cannot be read as a chat: {error}.", Fault.LOST)


def _refusal(problem: Problem) -> Answer:
    error = {
        "message": f"{problem.message} {problem.remedy}".strip(),
        "type": "invalid_request_error",
        "param": problem.param or None,
        "code": problem.code,
    }
    return Answer(400, msgspec.json.encode(cast("dict[str, Any]", {"error": error})))
