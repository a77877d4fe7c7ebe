"""Ask llama.cpp for a stream and gather it into one answer: only a stream can be given up half way.

Where someone waits for each piece, what was gathered is told now and then, and the gathering begins anew.
"""

from collections.abc import Callable
from typing import Any, cast

import msgspec
from msgspec import Struct, field

from batchyard.domain.result import Usage
from batchyard.workers.openai import BadRequest, Body
from batchyard.workers.serve import Call
from batchyard.workers.telling import Beat


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct):
    index: int = 0
    id: str | None = None
    function: _Function = field(default_factory=_Function)


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] = field(default_factory=list[_ToolCall])


class _Logprobs(Struct):
    content: list[dict[str, Any]] | None = None


class _Choice(Struct):
    finish_reason: str | None = None
    delta: _Delta | None = None
    text: str | None = None
    logprobs: _Logprobs | None = None


class _Details(Struct):
    cached_tokens: int = 0


class _Usage(Struct):
    completion_tokens: int = 0
    prompt_tokens: int = 0
    prompt_tokens_details: _Details = field(default_factory=_Details)


class _Error(Struct):
    code: int = 500
    message: str = ""
    type: str = ""


class _Chunk(Struct):
    choices: list[_Choice] = field(default_factory=list[_Choice])
    usage: _Usage | None = None
    error: _Error | None = None


_read_chunk = msgspec.json.Decoder(_Chunk).decode


class Written(Struct):
    """What the model wrote for one choice, or what is new of it; `ended` where it is the last that it writes."""

    content: str = ""
    reasoning: str = ""
    tool_calls: list[Body] = field(default_factory=list[Body])
    logprobs: list[Body] = field(default_factory=list[Body])
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    ended: bool = False

    @property
    def says_something(self) -> bool:
        return bool(self.content or self.reasoning or self.tool_calls or self.logprobs)


Tell = Callable[[Written], None]
"""Takes what is new of a choice."""


class Streams:
    """`handle` is a method of xllamacpp's server that takes a body as JSON and a callback for chunks of JSON."""

    def __init__(self, handle: Callable[[str, Callable[[Any], bool]], Any], call: Call) -> None:
        self._handle = handle
        self._call = call

    def write(self, body: Body, tell: Tell | None = None) -> Written:
        """Run one choice. Raises BadRequest and ValueError where llama.cpp refuses; blocks until it has ended.

        With `tell` it is told meanwhile, and only what was new at last is returned, with the usage of all.
        """
        chunks: list[Any] = []
        told = None if tell is None else _News(chunks, tell)

        def keep(chunk: Any) -> bool:
            chunks.append(chunk)
            return self._call.given_up or (told is not None and told.fails())

        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        self._handle(msgspec.json.encode(asked).decode(), keep)
        return _gathered(chunks) if told is None else told.rest()


class _News:
    """What of a choice was written and is not told yet. An error is kept: llama.cpp must not see our exceptions."""

    def __init__(self, chunks: list[Any], tell: Tell) -> None:
        self._chunks = chunks
        self._tell = tell
        self._beat = Beat()
        self._error: Exception | None = None
        self._usage = Usage()

    def fails(self) -> bool:
        """Tell what is new, if it is time; True where there is no use in going on."""
        if self._error is None and self._beat.due():
            try:
                self._flush()
            except Exception as error:
                self._error = error
        return self._error is not None

    def rest(self) -> Written:
        """Tell the rest."""
        if self._error is not None:
            raise self._error
        rest = self._flush()
        rest.usage = self._usage
        return rest

    def _flush(self) -> Written:
        news = _gathered(self._chunks)
        self._chunks.clear()
        self._usage = news.usage if news.usage != Usage() else self._usage
        if news.says_something or news.ended:
            self._tell(news)
            self._beat.beaten()
        return news


def refusal(error: Body | _Error) -> BadRequest:
    """llama.cpp's error as ours. What it calls its own fault but is the prompt's length is the caller's."""
    told = error if isinstance(error, _Error) else msgspec.convert(error, _Error)
    if told.type == "exceed_context_size_error" or "is too large to process" in told.message:
        return BadRequest(told.message, code="context_length_exceeded")
    status = 400 if told.code == 501 else told.code
    return BadRequest(told.message, status=status if status >= 400 else 500)


def _gathered(chunks: list[Any]) -> Written:
    contents: list[str] = []
    reasonings: list[str] = []
    written = Written()
    for raw in chunks:
        chunk = _read_chunk(raw)
        if chunk.error is not None:
            raise refusal(chunk.error)
        if chunk.usage is not None:
            written.usage = _usage(chunk.usage)
        for choice in chunk.choices:
            delta = choice.delta or _Delta(content=choice.text)
            contents.append(delta.content or "")
            reasonings.append(delta.reasoning_content or "")
            _add_tool_calls(written.tool_calls, delta.tool_calls)
            if choice.logprobs is not None:
                written.logprobs.extend(choice.logprobs.content or [])
            if choice.finish_reason is not None:
                written.finish_reason, written.ended = choice.finish_reason, True
    written.content = "".join(contents)
    written.reasoning = "".join(reasonings)
    return written


def _usage(usage: _Usage) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens)


def _add_tool_calls(calls: list[Body], pieces: list[_ToolCall]) -> None:
    """A call's first piece names it; the others go on with its arguments."""
    for piece in pieces:
        while len(calls) <= piece.index:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[piece.index]
        call["id"] = piece.id or call["id"]
        function = cast("Body", call["function"])
        function["name"] += piece.function.name or ""
        function["arguments"] += piece.function.arguments or ""
