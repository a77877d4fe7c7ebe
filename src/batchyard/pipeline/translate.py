"""Answers requests of one endpoint with an engine that only knows another, by saying them in the other's words."""

from typing import Any, cast

import msgspec

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.endpoint import Problem, Translation
from batchyard.engine import Abilities, Engine


class Translating:
    """An engine with one more endpoint where it has the other; otherwise the engine as it is."""

    def __init__(self, engine: Engine, translation: Translation) -> None:
        self._engine = engine
        self._translation = translation
        self._translates = False

    async def start(self) -> Abilities:
        abilities = await self._engine.start()
        known, new = self._translation.known, self._translation.new
        self._translates = known in abilities.endpoints and new not in abilities.endpoints
        if self._translates:
            return msgspec.structs.replace(abilities, endpoints=abilities.endpoints | {new})
        return abilities

    async def infer(self, request: Request) -> Reply:
        if not self._translates or request.endpoint != self._translation.new:
            return await self._engine.infer(request)
        body = self._translation.request(request.body)
        if isinstance(body, Problem):
            return _refusal(body)
        reply = await self._engine.infer(msgspec.structs.replace(request, endpoint=self._translation.known, body=body))
        return self._translated(reply, request)

    async def close(self) -> None:
        await self._engine.close()

    def _translated(self, reply: Reply, request: Request) -> Reply:
        if isinstance(reply, Failure) or not reply.ok:
            return reply
        try:
            return msgspec.structs.replace(reply, body=self._translation.answer(reply.body, request.body))
        except (msgspec.DecodeError, ValueError) as error:
            return Failure("bad_answer", f"The engine's answer cannot be translated: {error}.", Fault.LOST)


def _refusal(problem: Problem) -> Answer:
    error = {
        "message": f"{problem.message} {problem.remedy}".strip(),
        "type": "invalid_request_error",
        "param": problem.param or None,
        "code": problem.code,
    }
    return Answer(400, msgspec.json.encode(cast("dict[str, Any]", {"error": error})))
