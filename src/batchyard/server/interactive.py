"""Interactive requests: someone waits for each, so they go straight to the engine and before all batch work."""

import asyncio
import itertools
from collections.abc import Awaitable, Generator
from contextlib import contextmanager

from starlette.types import Receive

from batchyard.domain.access import ProjectId
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Say, stream
from batchyard.server.gone import unless_gone
from batchyard.server.models import Model
from batchyard.telemetry.metrics import Metrics


class Interactive:
    """Asks engines on behalf of callers who wait. `inflight` is how many do; batch dispatch steps back for them."""

    def __init__(self, metrics: Metrics, *, timeout_seconds: float = 600.0) -> None:
        self.inflight = 0
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._numbers = itertools.count()

    async def ask(
        self, model: Model, endpoint: str, body: bytes, *, project: ProjectId, call_id: str, receive: Receive
    ) -> Reply:
        """Ask a model's engine once. Gives the request up and raises Gone as soon as the caller hangs up."""
        request = Request(next(self._numbers), call_id, endpoint, model.asked_as, body, project=project)
        with self._counted():
            reply = await unless_gone(lambda: self._in_time(model, model.engine.infer(request)), receive)
        self._record(model, endpoint, reply)
        return reply

    async def stream(
        self,
        model: Model,
        endpoint: str,
        body: bytes,
        say: Say,
        *,
        project: ProjectId,
        call_id: str,
        receive: Receive,
    ) -> Reply:
        """Ask for an answer in pieces; for the rest as `ask`. Where `say` heard nothing, the reply is whole."""
        request = Request(next(self._numbers), call_id, endpoint, model.asked_as, body, project=project)
        with self._counted():
            reply = await unless_gone(lambda: self._in_time(model, _told(model, request, say)), receive)
        self._record(model, endpoint, reply)
        return reply

    async def _in_time(self, model: Model, answer: Awaitable[Reply]) -> Reply:
        seconds = model.request_timeout_seconds or self._timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            return Failure("request_timeout", f"No answer within {seconds:g} seconds.", Fault.LOST)

    @contextmanager
    def _counted(self) -> Generator[None]:
        self.inflight += 1
        self._metrics.interactive_inflight.inc()
        try:
            yield
        finally:
            self.inflight -= 1
            self._metrics.interactive_inflight.dec()

    def _record(self, model: Model, endpoint: str, reply: Reply) -> None:
        outcome = "succeeded" if isinstance(reply, Answer) and reply.ok else "errored"
        self._metrics.interactive_replies.labels(model.name, endpoint, outcome).inc()
        if isinstance(reply, Answer):
            for kind in ("input", "output", "cached"):
                count = getattr(reply.usage, f"{kind}_tokens")
                self._metrics.tokens.labels(model.name, "interactive", kind).inc(count)


async def _told(model: Model, request: Request, say: Say) -> Reply:
    """Ask for a stream, and once more where the engine died before it said anything: nobody can tell the difference."""
    begun = False

    async def said(piece: bytes) -> None:
        nonlocal begun
        begun = True
        await say(piece)

    reply = await stream(model.engine, request, said)
    if begun or not isinstance(reply, Failure) or reply.fault is not Fault.CRASHED:
        return reply
    return await stream(model.engine, request, said)
