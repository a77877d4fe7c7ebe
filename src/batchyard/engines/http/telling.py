"""An upstream's stream, said on: every event is handed on as it came, and what it means for the end is noted."""

import asyncio

import msgspec
from msgspec import Raw, Struct

from batchyard.domain.request import Request
from batchyard.domain.result import NO_USAGE, Answer, Failure, Fault, Reply, usage_of
from batchyard.engine import Say
from batchyard.transport.http1 import BrokenEvents, EventReader, Flow, HttpError

EVENTS = b"text/event-stream"
DONE = b"[DONE]"
NULL = Raw(b"null")
RESPONSES = "/v1/responses"
LAST_BYTES_SECONDS = 0.1
"""How long the last bytes of a finished answer may take before its connection is given up instead of kept."""

_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class _Choice(Struct, gc=False):
    index: int = 0
    finish_reason: str | None = None


class _Event(Struct, gc=False):
    """A chunk, an event of a response, or an error in either of their forms."""

    type: str = ""
    choices: list[_Choice] | None = None
    usage: Raw = NULL
    error: Raw = NULL
    response: Raw = Raw(b"{}")
    code: str | int | None = None
    message: str | None = None
    param: str | None = None


class _Error(Struct, gc=False):
    code: str | int | None = None


_read = msgspec.json.Decoder(_Event).decode
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


def aloud(request: Request) -> bytes:
    """The body that asks for the answer in pieces, with its usage at the end."""
    asked: dict[str, object] = {**_fields(request.body), "stream": True}
    if request.endpoint != RESPONSES:
        asked["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(asked)


def is_stream(flow: Flow) -> bool:
    """Is it a stream of events? An error is not, nor is what a server that knows no streams answers."""
    return 200 <= flow.status < 300 and flow.headers.get(b"content-type", b"").lower().strip().startswith(EVENTS)


async def tell(flow: Flow, say: Say, request_id: str) -> Reply:
    """Say every event. Raises an HttpError where the connection breaks."""
    reader, listener = EventReader(), _Listener(request_id)
    try:
        while data := await flow.read():
            for event in reader.feed(data):
                if event == DONE:
                    await _last_bytes(flow)
                    return listener.end()
                if (error := listener.hear(event)) is not None:
                    return error
                await say(event)
    except (BrokenEvents, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("bad_answer", f"The upstream's stream cannot be read: {error}.", Fault.LOST)
    return listener.end() if listener.ended else _cut_short()


def _cut_short() -> Failure:
    return Failure("connection_lost", "The upstream's stream ended before the answer did.", Fault.LOST)


async def _last_bytes(flow: Flow) -> None:
    """Read to the end of the body, so that the connection can be kept; but nobody waits long for that."""
    try:
        async with asyncio.timeout(LAST_BYTES_SECONDS):
            while await flow.read():
                pass
    except (TimeoutError, HttpError):
        return


class _Listener:
    """What the events have told so far. `ended` where the answer is whole though no end of the stream was marked."""

    def __init__(self, request_id: str) -> None:
        self.ended = False
        self._request_id = request_id
        self._usage = NO_USAGE
        self._unfinished: set[int] = set()

    def hear(self, data: bytes) -> Answer | None:
        """Take an event; the error that it tells, if it does."""
        event = _read(data)
        if event.error != NULL:
            return _error(event.error)
        if event.type == "error":
            told = {"message": event.message or "", "type": "server_error", "param": event.param, "code": event.code}
            return _error(Raw(msgspec.json.encode(told)))
        if event.usage != NULL:
            self._usage = usage_of(data)
        if event.type in _ENDS:
            self.ended, self._usage = True, usage_of(bytes(event.response))
        for choice in event.choices or ():
            self._unfinished.add(choice.index)
            if choice.finish_reason is not None:
                self._unfinished.discard(choice.index)
            self.ended = not self._unfinished
        return None

    def end(self) -> Answer:
        return Answer(200, b"", self._request_id, self._usage)


def _error(error: Raw) -> Answer:
    """An error in the middle of a stream, with the status that it names, if it names one."""
    try:
        code = msgspec.json.decode(error, type=_Error).code
    except msgspec.DecodeError:
        code = None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return Answer(status, b'{"error":%b}' % bytes(error))
