"""Reading the bodies of calls that a model answers at once; all that they say wrong is an Unfit."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.embed import AskedVector, asked_vector
from batchyard.dialects.gemini.generate import Asked, asked, model_name
from batchyard.dialects.gemini.spelling import Json, normal
from batchyard.dialects.gemini.unfit import Shapeless

T = TypeVar("T")
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ODD = (ValueError, RecursionError)


class Vectors(Struct, frozen=True):
    """Texts to embed in one call, each with the length that its vector may have."""

    asked: list[AskedVector]

    @property
    def body(self) -> Json:
        """The body without its model."""
        return {"input": [each.text for each in self.asked], "encoding_format": "float"}


def generation(body: bytes, model: str, depth: int) -> Asked:
    """A GenerateContentRequest that its path sends to a model. Raises Unfit."""
    return _reading(lambda: _to(asked(read_json(body, depth)), model))


def embedding(body: bytes, model: str, depth: int) -> Vectors:
    """An EmbedContentRequest. Raises Unfit."""
    return _reading(lambda: Vectors([_to(asked_vector(read_json(body, depth)), model)]))


def embeddings(body: bytes, model: str, depth: int) -> Vectors:
    """A BatchEmbedContentsRequest. Raises Unfit."""
    return _reading(lambda: _embeddings(read_json(body, depth), model))


def counted(body: bytes, model: str, depth: int) -> Asked:
    """A CountTokensRequest: contents alone, or a whole request below `generateContentRequest`. Raises Unfit."""
    return _reading(lambda: _to(asked(_counted(read_json(body, depth))), model))


def read_json(body: bytes, depth: int) -> Json:
    """The object that a body is. Raises Unfit."""
    try:
        given: Any = msgspec.json.decode(body)
    except _BROKEN as error:
        raise Shapeless(f"The body of your request is not valid JSON: {error}.") from None
    if not isinstance(given, dict):
        raise Shapeless("The body of your request is not a JSON object.")
    if read.deeper_than(cast("Json", given), depth):
        raise Shapeless(f"The body of your request is nested deeper than {depth} levels.", "", "Send a flatter body.")
    return cast("Json", given)


def _embeddings(body: Json, model: str) -> Vectors:
    given = normal(body)
    read.only(given, {"model", "requests"}, "")
    requests = read.objects(given.get("requests") or [], "requests")
    if not requests:
        raise Shapeless("There are no requests.", "requests", "Add at least one.")
    return Vectors([_to(asked_vector(each), model) for each in requests])


def _counted(body: Json) -> Json:
    given = normal(body)
    read.only(given, {"model", "contents", "generateContentRequest"}, "")
    whole = given.get("generateContentRequest")
    return given if whole is None else read.an_object(whole, "generateContentRequest")


def _to(wanted: Any, model: str) -> Any:
    """What is asked, where it names no other model than its path."""
    if wanted.model is not None and wanted.model != model_name(model):
        raise Shapeless(
            f"The body names the model '{wanted.model}', its path '{model}'.", "model", "Name one, or leave it out."
        )
    return wanted


def _reading(step: Callable[[], T]) -> T:
    try:
        return step()
    except _ODD as error:
        raise Shapeless(f"The body of your request has another shape: {error}.") from error
