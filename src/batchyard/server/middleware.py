"""What every call passes first and last: an id, the clock, the counters, and an answer whatever happens."""

import asyncio
import logging
import re
from email.utils import formatdate
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchyard.clock import Clock
from batchyard.domain.batch import Form
from batchyard.server.access import key_in, speaks_gemini
from batchyard.server.gone import Gone
from batchyard.server.house import House
from batchyard.server.paths import address
from batchyard.server.replies import refused
from batchyard.server.visit import Visit, begin
from batchyard.telemetry import logs, traces

_log = logging.getLogger("batchyard.server")

DRAIN_SECONDS = 5.0
MOST_NAME = 128
"""How much of a caller's own `x-request-id` is noted."""

_UNPLAIN = re.compile(r"[^\x21-\x7e]")


class Threshold:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app = app
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        where = address(scope["path"], gemini=speaks_gemini(headers, scope["query_string"]))
        visit = Visit(self._house.new_id("req_"), where, scope["path"])
        if where.form is Form.GEMINI:
            visit.key, scope["query_string"] = key_in(scope["query_string"])
        begin(scope, visit)
        passage = _Passage(visit, headers, receive, send, self._house.clock)
        with logs.about(request_id=visit.id, **_named_by_caller(headers)), traces.call(scope["method"], headers) as say:
            try:
                await self._answer(scope, passage)
            finally:
                self._count(scope, passage, say)

    async def _answer(self, scope: Scope, passage: "_Passage") -> None:
        try:
            await self._app(scope, passage.receive, passage.send)
        except (ClientDisconnect, Gone):
            passage.status = passage.status or 499
        except Exception as error:
            _log.exception("call_failed", extra={"path": passage.visit.path})
            if passage.status:
                raise
            await refused(error, passage.visit)(scope, passage.receive, passage.send)

    def _count(self, scope: Scope, passage: "_Passage", say: traces.Note) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if route != "unknown" else "any"
        seconds = perf_counter() - passage.began
        metrics = self._house.metrics
        metrics.http_requests.labels(route, method, passage.status).inc()
        metrics.http_seconds.labels(route).observe(seconds)
        fields = {
            "method": scope["method"],
            "path": passage.visit.path,
            "status": passage.status,
            "milliseconds": round(seconds * 1000, 1),
        }
        _log.info("call", extra=fields)
        say("name", f"{method} {route}")
        say("http.route", route)
        say("http.response.status_code", passage.status)
        say("batchyard.request_id", passage.visit.id)


def _named_by_caller(headers: Headers) -> dict[str, str]:
    """What the caller calls the call, for the logs: short and plain, otherwise cut so."""
    given = headers.get("x-request-id", "")[:MOST_NAME]
    return {"client_request_id": _UNPLAIN.sub("?", given)} if given else {}


class _Passage:
    """One call under way: adds our headers to its answer, and reads what is left of its body before answering."""

    def __init__(self, visit: Visit, headers: Headers, receive: Receive, send: Send, clock: Clock) -> None:
        self.visit = visit
        self._clock = clock
        self.status = 0
        self.began = perf_counter()
        self._more = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        self._expected = "expect" in headers
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        self._expected = False
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._more = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._drain()
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["date"] = formatdate(self._clock.now(), usegmt=True)
            headers["x-request-id"] = self.visit.id
            headers["openai-processing-ms"] = str(int((perf_counter() - self.began) * 1000))
            headers["openai-version"] = "2020-10-01"
            headers.update(self.visit.headers)
            if self._more:
                headers["connection"] = "close"
        await self._send(message)

    async def _drain(self) -> None:
        left = 0 if self._expected else self.visit.drain_bytes  # a client that expects a 100 has not sent anything yet
        if not self._more or not left:
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._more and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return
