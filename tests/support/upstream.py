"""A scriptable upstream on loopback: a good OpenAI-like server that misbehaves exactly as it is told.

    async with Upstream(closes_early(b"HTTP/1.1 200 OK\\r\\n"), good()) as upstream:
        ...                      # the first POST is cut off, the second is answered, all later ones too

A move is what it does with one POST. GETs (the probe of `/v1/models`) are answered at once and are not scripted, unless
`models` says how.
"""

import asyncio
import json
import socket
import ssl
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Asked:
    """A request as the upstream saw it; `connection` numbers the connections from 0."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Talk:
    """What a move can do: write to the other side, and wait until the upstream is closed."""

    writer: asyncio.StreamWriter
    closing: asyncio.Event

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Move: TypeAlias = Callable[[Asked, Talk], Awaitable[None]]


def good(status: int = 200, **headers: str) -> Move:
    """Answer with the request's own body inside (`echo`), so that answers cannot be mistaken for one another."""

    async def move(asked: Asked, talk: Talk) -> None:
        await talk.say(answer(_echo(asked), status, headers))

    return move


def speaking() -> Move:
    """Answer a chat with its last message, word by word where a stream is asked for."""

    async def move(asked: Asked, talk: Talk) -> None:
        text = asked.json["messages"][-1]["content"] if isinstance(asked.json["messages"], list) else ""
        usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
        if not asked.json.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            await talk.say(answer(json.dumps({"id": "x", "choices": [choice], "usage": usage}).encode()))
            return
        deltas: list[dict[str, str]] = [{"content": letter} for letter in text]
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
        ]
        last: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        data = [json.dumps({"id": "x", **chunk}) for chunk in (*chunks, last, dict[str, Any](choices=[], usage=usage))]
        events = [f"data: {one}\n\n".encode() for one in (*data, "[DONE]")]
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await talk.say(head + b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in events) + b"0\r\n\r\n")

    return move


def embeds(*, most: int = 2048, bad: str = "bad", arrays: bool = True) -> Move:
    """Answer embeddings, each text with its own vector: refuse a call with a `bad` text, with more than `most`, or
    with an array at all."""

    async def move(asked: Asked, talk: Talk) -> None:
        given: Any = asked.json["input"]
        texts: list[str] = [given] if isinstance(given, str) else given
        reason = "The input must be a string." if texts is given and not arrays else _reason(texts, most, bad)
        if reason is not None:
            error = {"message": reason, "type": "invalid_request_error", "param": "input", "code": None}
            await talk.say(answer(json.dumps({"error": error}).encode(), 400))
            return
        await talk.say(answer(embeddings(texts)))

    return move


def embeddings(texts: list[str]) -> bytes:
    """The answer to some texts: a vector tells its text, in digits that no float keeps, and every word is a token."""
    data = [f'{{"object":"embedding","index":{place},"embedding":{vector(text)}}}' for place, text in enumerate(texts)]
    words = sum(len(text.split()) for text in texts)
    usage = f'{{"prompt_tokens":{words},"total_tokens":{words}}}'
    return f'{{"object":"list","data":[{",".join(data)}],"model":"m-1","usage":{usage}}}'.encode()


def vector(text: str) -> str:
    return f"[{len(text)}.10000000000000000000{zlib.crc32(text.encode())}, -0.50]"


def _reason(texts: list[str], most: int, bad: str) -> str | None:
    if len(texts) > most:
        return f"At most {most} texts."
    return next((f"I do not embed {text!r}." for text in texts if text.startswith(bad)), None)


def says(*pieces: bytes, then_close: bool = False) -> Move:
    """Send these bytes, each on its own."""

    async def move(asked: Asked, talk: Talk) -> None:
        for piece in pieces:
            await talk.say(piece)
            await asyncio.sleep(0)
        if then_close:
            talk.writer.close()

    return move


def closes_early(data: bytes = b"") -> Move:
    return says(data, then_close=True)


def resets(data: bytes = b"") -> Move:
    """Send some bytes, then break the connection as a dying server does (RST)."""

    async def move(asked: Asked, talk: Talk) -> None:
        await talk.say(data)
        talk.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        talk.writer.transport.abort()

    return move


def hangs(data: bytes = b"") -> Move:
    """Send some bytes, then nothing more, ever."""

    async def move(asked: Asked, talk: Talk) -> None:
        await talk.say(data)
        await talk.closing.wait()

    return move


def drips(data: bytes, every_seconds: float) -> Move:
    """Send byte by byte, slowly."""

    async def move(asked: Asked, talk: Talk) -> None:
        for place in range(len(data)):
            await talk.say(data[place : place + 1])
            await asyncio.sleep(every_seconds)

    return move


def floods(front: bytes, piece: bytes) -> Move:
    """Send `front`, then `piece` again and again until the other side closes."""

    async def move(asked: Asked, talk: Talk) -> None:
        await talk.say(front)
        while not talk.closing.is_set():
            await talk.say(piece)

    return move


def answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """A whole answer with its true length. Underscores in header names become hyphens."""
    lines = [f"HTTP/1.1 {status} Whatever", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    """A whole answer in chunks."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + trailer + b"\r\n"


class Upstream:
    """Plays its moves one per POST, in the order of arrival, then `default` forever. Use as an async context."""

    def __init__(
        self,
        *moves: Move,
        default: Move | None = None,
        models: Move | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self._moves = deque(moves)
        self._default = default or good()
        self._models = models or says(answer(b'{"object":"list","data":[{"id":"m"}]}'))
        self._tls = tls
        self.port = port
        self._closing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ended = asyncio.Event()
        self.was_asked = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    @property
    def posts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "POST"]

    async def __aenter__(self) -> "Upstream":
        self._server = await asyncio.start_server(
            self._serve, "localhost", self.port, family=socket.AF_INET, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Take no more connections and break those that there are. May be called twice."""
        self._server.close()
        self._closing.set()
        while self._writers:
            self._ended.clear()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await self._ended.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self._writers.add(writer)
        try:
            while not writer.is_closing() and (asked := await _read(reader, number)) is not None:
                self.asked.append(asked)
                self.was_asked.set()
                await self._move(asked)(asked, Talk(writer, self._closing))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client's side of a broken connection
        finally:
            self._writers.discard(writer)
            self._ended.set()
            writer.close()

    def _move(self, asked: Asked) -> Move:
        if asked.method != "POST":
            return self._models
        return self._moves.popleft() if self._moves else self._default


async def _read(reader: asyncio.StreamReader, connection: int) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body, connection)


def _echo(asked: Asked) -> bytes:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return json.dumps({"echo": asked.json, "usage": usage}).encode()
