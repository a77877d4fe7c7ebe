"""A scripted OpenAI-like upstream: answers right, or fails in one of the ways in which servers fail.

What it says to a question is a function of the question, so that every answer can be checked; how often it was asked is
counted. Its bad luck with one question ends after a few tries, so that every walk can end. A call for embeddings may
have several questions; with one that it refuses it refuses all.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.network import Wire
from tests.simulation.trace import Trace

REFUSED = "refuse"
"""A question that begins so is answered with a final 400."""


def right_text(question: str) -> str:
    """The only right answer."""
    return f"{question} -> {hashlib.sha256(question.encode()).hexdigest()[:12]}"


@dataclass
class Asked:
    """What upstreams heard and said, over all reboots: requests by question, and whole right answers sent."""

    heard: Counter[str] = field(default_factory=Counter[str])
    bad: Counter[str] = field(default_factory=Counter[str])


@dataclass
class Temper:
    """How an upstream behaves: how often it fails, how often on one question, when it takes no connections, how many
    questions it takes in one call, and whether it may forget one of them."""

    bad_share: float = 0.0
    most_bad: int = 2
    slowest_seconds: float = 0.2
    closed: tuple[tuple[float, float], ...] = ()
    ways: tuple[str, ...] = ()
    most_texts: int = 1000
    miscounts: bool = False


class ScriptedUpstream:
    """See the module."""

    def __init__(self, random: Random, trace: Trace, asked: Asked, temper: Temper) -> None:
        self._random = random
        self._trace = trace
        self._asked = asked
        self._temper = temper
        self._ways: dict[str, Callable[[Wire, bytes], None]] = {
            "429": lambda wire, _: _say(wire, 429, _error("slow down")),
            "429 later": lambda wire, _: _say(wire, 429, _error("slow down"), "Retry-After: 1\r\n"),
            "408": lambda wire, _: _say(wire, 408, _error("too slow")),
            "500": lambda wire, _: _say(wire, 500, b"Internal Server Error", content_type="text/plain"),
            "503": lambda wire, _: _say(wire, 503, _error("overloaded"), "Retry-After: 0.5\r\n"),
            "502 page": lambda wire, _: _say(
                wire, 502, b"<html>\n<h1>Bad Gateway</h1>\n</html>", content_type="text/html"
            ),
            "hang": lambda wire, _: None,
            "close": lambda wire, _: wire.close(),
            "reset": lambda wire, _: wire.reset(),
            "close in the head": lambda wire, _: _say_part(wire, b"HTTP/1.1 200 OK\r\nContent-Le"),
            "close in the body": self._close_in_body,
            "length too long": self._length_too_long,
            "length too short": self._length_too_short,
            "broken chunk": self._broken_chunk,
            "chunks that end early": self._chunks_end_early,
            "garbage": lambda wire, _: wire.send(b"\x16\x03\x01 nothing that you know\r\n\r\n"),
            "not JSON": lambda wire, _: _say(wire, 200, b"<html>hello</html>"),
            "empty": lambda wire, _: _say(wire, 200, b""),
        }

    def accepts(self, now: float) -> bool:
        return not any(start <= now < end for start, end in self._temper.closed)

    def connected(self, wire: Wire) -> None:
        waiting = bytearray()

        def received(data: bytes) -> None:
            waiting.extend(data)
            while request := _take_request(waiting):
                self._answer(wire, *request)

        wire.received = received

    def _answer(self, wire: Wire, path: str, body: bytes) -> None:
        if path.endswith("/models"):
            _say(wire, 200, b'{"object":"list","data":[]}')
            return
        questions = _questions(json.loads(body))
        self._asked.heard.update(questions)
        way = self._way(questions)
        self._trace.note(f"asked {questions!r} at {wire.loop.time():.6f}: {way}")
        seconds = self._random.uniform(0.001, self._temper.slowest_seconds)
        wire.loop.call_later(seconds, self._act, wire, way, questions, b"messages" in body)

    def _way(self, questions: list[str]) -> str:
        """A way to fail, or to answer."""
        if self._random.random() < self._temper.bad_share and all(
            self._asked.bad[question] < self._temper.most_bad for question in questions
        ):
            self._asked.bad.update(questions)
            return self._random.choice(self._temper.ways or tuple(self._ways))
        return self._random.choice(("plain", "chunked", "dripping", "closing", "spread"))

    def _act(self, wire: Wire, way: str, questions: list[str], chats: bool) -> None:
        refused = next((question for question in questions if question.startswith(REFUSED)), None)
        right = _completion(questions[0]) if chats else self._embeddings(questions)
        if way in self._ways:
            self._ways[way](wire, right)
        elif len(questions) > self._temper.most_texts:
            _say(wire, self._random.choice((400, 413, 422, 500)), _error("too many texts"))
        elif refused is not None:
            _say(wire, 400, _error(f"I do not answer {refused!r}."))
        else:
            self._answer_right(wire, way, right)

    def _embeddings(self, questions: list[str]) -> bytes:
        data = [
            {"object": "embedding", "index": place, "embedding": right_text(question)}
            for place, question in enumerate(questions)
        ]
        if len(data) > 1:
            self._random.shuffle(data)
            if self._temper.miscounts and self._random.random() < 0.3:
                data.pop()
        words = sum(len(question.split()) for question in questions)
        usage = {"prompt_tokens": words, "total_tokens": words}
        return json.dumps({"object": "list", "data": data, "model": "m", "usage": usage}).encode()

    def _answer_right(self, wire: Wire, way: str, body: bytes) -> None:
        if way == "chunked":
            wire.send(_CHUNKED + b"".join(_chunk(piece) for piece in self._pieces(body)) + b"0\r\n\r\n")
        elif way == "dripping":
            whole = _head(200, len(body)) + body
            for number, piece in enumerate(self._pieces(whole)):
                wire.loop.call_later(0.01 * number, wire.send, piece)
        elif way == "closing":
            _say(wire, 200, body, "Connection: close\r\n")
            wire.close()
        elif way == "spread":
            _say(wire, 200, json.dumps(json.loads(body), indent=2).encode())
        else:
            _say(wire, 200, body)

    def _pieces(self, data: bytes) -> list[bytes]:
        cuts = sorted(self._random.sample(range(1, len(data)), 4))
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def _close_in_body(self, wire: Wire, body: bytes) -> None:
        _say_part(wire, _head(200, len(body)) + body[: self._random.randrange(len(body))])

    def _length_too_long(self, wire: Wire, body: bytes) -> None:
        _say_part(wire, _head(200, len(body) + self._random.randrange(1, 100)) + body)

    def _length_too_short(self, wire: Wire, body: bytes) -> None:
        wire.send(_head(200, self._random.randrange(1, len(body))) + body)

    def _broken_chunk(self, wire: Wire, body: bytes) -> None:
        wire.send(_CHUNKED + _chunk(body[:20]) + b"zz\r\n" + body[20:])

    def _chunks_end_early(self, wire: Wire, body: bytes) -> None:
        _say_part(wire, _CHUNKED + b"".join(_chunk(piece) for piece in self._pieces(body)))


_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def _take_request(waiting: bytearray) -> tuple[str, bytes] | None:
    """Take one whole request from what has arrived: its path and its body."""
    end = waiting.find(b"\r\n\r\n")
    if end < 0:
        return None
    start, *fields = bytes(waiting[:end]).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    whole = end + 4 + int(headers.get("content-length", "0"))
    if len(waiting) < whole:
        return None
    body = bytes(waiting[end + 4 : whole])
    del waiting[:whole]
    return start.split(" ")[1], body


def _questions(asked: dict[str, Any]) -> list[str]:
    if "messages" in asked:
        return [asked["messages"][-1]["content"]]
    given: Any = asked["input"]
    return [given] if isinstance(given, str) else given


def _completion(question: str) -> bytes:
    words = len(question.split())
    message = {"role": "assistant", "content": right_text(question)}
    usage = {"prompt_tokens": words, "completion_tokens": words + 2, "total_tokens": 2 * words + 2}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return json.dumps({"id": "c", "object": "chat.completion", "choices": choices, "usage": usage}).encode()


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "simulated", "code": None}}).encode()


def _head(status: int, length: int, more: str = "", content_type: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def _say(wire: Wire, status: int, body: bytes, more: str = "", content_type: str = "application/json") -> None:
    wire.send(_head(status, len(body), more, content_type) + body)


def _say_part(wire: Wire, data: bytes) -> None:
    wire.send(data)
    wire.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
