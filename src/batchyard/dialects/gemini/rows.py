"""What rows of a Gemini file ask, by the kind of the job: one reader and one teller for each."""

from typing import Any, Protocol, cast

import msgspec
from msgspec import Struct

from batchyard.dialects.gemini.answer import from_chat, from_pictures
from batchyard.dialects.gemini.embed import EMBEDDINGS, asked_vector, from_embedding
from batchyard.dialects.gemini.generate import asked, manner_of
from batchyard.dialects.gemini.spelling import Json


class Said(Struct, frozen=True):
    """A row's request in an engine's words; `model` where the row names one."""

    endpoint: str
    body: Json
    prompt: bytes
    model: str | None


class Kind(Protocol):
    """A kind of job."""

    def said(self, request: object) -> Said:
        """A row's request as an engine takes it. Raises Unfit."""
        ...

    def response(self, request: object, answer: Json, model: str, response_id: str) -> Json:
        """An engine's answer to it as Gemini tells it. Raises Unfit, or ValueError where it has another shape."""
        ...


class Generating:
    """Jobs of `batchGenerateContent`."""

    def said(self, request: object) -> Said:
        wanted = asked(request)
        prompt = wanted.body.get("messages") or wanted.body.get("prompt")
        return Said(wanted.endpoint, wanted.body, msgspec.json.encode(prompt), wanted.model)

    def response(self, request: object, answer: Json, model: str, response_id: str) -> Json:
        manner = manner_of(request)
        if manner.pictures and "choices" not in answer:
            return from_pictures(answer, model, response_id)
        return from_chat({"id": response_id, **answer}, model, manner)


class Embedding:
    """Jobs of `asyncBatchEmbedContent`."""

    def said(self, request: object) -> Said:
        wanted = asked_vector(request)
        return Said(EMBEDDINGS, wanted.body, msgspec.json.encode(wanted.text), wanted.model)

    def response(self, request: object, answer: Json, model: str, response_id: str) -> Json:
        return from_embedding(answer, asked_vector(request).values)


def row_of(line: bytes) -> tuple[Json, object]:
    """A row's envelope, without its request, and the request; a bare request is a row without an envelope.

    Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError for what is not JSON, TypeError for what is no
    object.
    """
    row = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(row, dict):
        raise TypeError
    given = cast("dict[str, Any]", row)
    if "request" in given:
        request = given.pop("request")
        return given, request
    if any(name in given for name in ("contents", "content")):
        return {}, given
    return given, None
