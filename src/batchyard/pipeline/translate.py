"""Answers requests of an endpoint that an engine lacks, by saying them as requests of one that it has."""

from typing import Any, cast

import msgspec

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.endpoint import Problem, Retelling, Translation
from batchyard.engine import Abilities, Engine, Say, stream


class Translating:
    """An engine with the source of a translation added where it has only the target; otherwise the engine as it is."""

    def __init__(self, engine: Engine, translation: Translation) -> None:
        self._engine = engine
        self._translation = translation
        self._translates = False

    @property
    def restarts(self) -> int:
        return self._engine.restarts

    async def start(self) -> Abilities:
        abilities = await self._engine.start()
        source, target = self._translation.source, self._translation.target
        self._translates = target in abilities.endpoints and source not in abilities.endpoints
        if self._translates:
            return msgspec.structs.replace(abilities, endpoints=abilities.endpoints | {source})
        return abilities

    async def infer(self, request: Request) -> Reply:
        translation = self._translation
        if not self._translates or request.endpoint != translation.source:
            return await self._engine.infer(request)
        body = translation.request(request.body)
        if isinstance(body, Problem):
            return _refusal(body)
        reply = await self._engine.infer(msgspec.structs.replace(request, endpoint=translation.target, body=body))
        return self._back(reply, request)

    async def stream(self, request: Request, say: Say) -> Reply:
        translation = self._translation
        if not self._translates or request.endpoint != translation.source:
            return await stream(self._engine, request, say)
        if translation.retell is None:
            return await self.infer(request)
        body = translation.request(request.body)
        if isinstance(body, Problem):
            return _refusal(body)
        asked = msgspec.structs.replace(request, endpoint=translation.target, body=body)
        return await self._retold(asked, translation.retell(request.body), request, say)

    async def close(self) -> None:
        await self._engine.close()

    async def _retold(self, asked: Request, retelling: Retelling, request: Request, say: Say) -> Reply:
        """Say in the words of the source what the engine says in the target's."""
        begun = False

        async def said(piece: bytes) -> None:
            nonlocal begun
            for event in retelling.tell(piece):
                begun = True
                await say(event)

        try:
            reply = await stream(self._engine, asked, said)
            if not begun:
                return self._back(reply, request)
            if isinstance(reply, Answer) and reply.ok:
                for event in retelling.end():
                    await say(event)
        except (msgspec.DecodeError, ValueError) as error:
            return _unsayable(request, error)
        return reply

    def _back(self, reply: Reply, request: Request) -> Reply:
        if isinstance(reply, Failure) or not reply.ok:
            return reply
        try:
            return msgspec.structs.replace(reply, body=self._translation.answer(reply.body, request.body))
        except (msgspec.DecodeError, ValueError) as error:
            return _unsayable(request, error)


def _unsayable(request: Request, error: Exception) -> Failure:
    message = f"The engine's answer cannot be said as one of {request.endpoint}: {error}."
    return Failure("bad_answer", message, Fault.LOST)


def _refusal(problem: Problem) -> Answer:
    error = {
        "message": f"{problem.message} {problem.remedy}".strip(),
        "type": "invalid_request_error",
        "param": problem.param or None,
        "code": problem.code,
    }
    return Answer(400, msgspec.json.encode(cast("dict[str, Any]", {"error": error})))
