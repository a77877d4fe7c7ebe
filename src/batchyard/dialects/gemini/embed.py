"""EmbedContent requests as requests of `/v1/embeddings`, and their answers.

A vector that is longer than was asked for is cut at its end and not normalised again, as the service does it. Task type
and title have no counterpart and change nothing.
"""

import base64
from array import array
from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.generate import model_name
from batchyard.dialects.gemini.spelling import Json, normal
from batchyard.dialects.gemini.unfit import Unfit

EMBEDDINGS = "/v1/embeddings"
KNOWN = frozenset({"model", "content", "taskType", "title", "outputDimensionality", "embedContentConfig"})
MOST_VALUES = 65_536


class AskedVector(Struct, frozen=True):
    """What an embedding is asked of, and how long it may be. `model` is None where none is named."""

    text: str
    values: int | None
    model: str | None

    @property
    def body(self) -> Json:
        """The body without its model."""
        return {"input": self.text, "encoding_format": "float"}


def asked_vector(request: object) -> AskedVector:
    """Read a request, in any spelling. Raises Unfit."""
    given = normal(read.an_object(request, "request"))
    read.only(given, KNOWN, "")
    config = read.an_object(given.get("embedContentConfig") or {}, "embedContentConfig")
    model = given.get("model")
    return AskedVector(
        _text(given.get("content")),
        _dimensions(given.get("outputDimensionality") or config.get("outputDimensionality")),
        None if model is None else model_name(read.text(model, "model")),
    )


def from_embedding(answer: Json, values: int | None) -> Json:
    """An embedding as a row's response. Raises Unfit where it is shorter than asked, ValueError where it is none."""
    data = answer.get("data")
    if not isinstance(data, list) or not data:
        raise ValueError("the answer has no embedding")
    vector = cut(vector_of(cast("list[Json]", data)[0].get("embedding")), values)
    tokens = cast("Json", answer.get("usage") or {}).get("prompt_tokens", 0)
    return {"tokenCount": str(tokens), "embedding": {"values": vector}}


def vectors_of(answer: Json, values: Sequence[int | None]) -> list[Json]:
    """The embeddings of all texts of a call, in their order. Raises as `from_embedding`."""
    data = answer.get("data")
    if not isinstance(data, list) or len(cast("list[Json]", data)) != len(values):
        raise ValueError(f"the answer has not {len(values)} embeddings")
    ordered = sorted(cast("list[Json]", data), key=lambda each: each.get("index", 0))
    return [{"values": cut(vector_of(each.get("embedding")), most)} for each, most in zip(ordered, values, strict=True)]


def cut(vector: list[float], values: int | None) -> list[float]:
    """The beginning of a vector. Raises Unfit where it has fewer values."""
    if values is None:
        return vector
    if values > len(vector):
        raise Unfit(
            f"The model's embeddings have {len(vector)} values, {values} were asked for.", "outputDimensionality",
            f"Ask for at most {len(vector)}.",
        )  # fmt: skip
    return vector[:values]


def vector_of(embedding: object) -> list[float]:
    """A vector, given as numbers or as base64 of 32-bit floats. Raises ValueError."""
    if isinstance(embedding, str):
        floats = array("f")
        floats.frombytes(base64.b64decode(embedding))
        return floats.tolist()
    if not isinstance(embedding, list):
        raise ValueError("the answer has no embedding")
    return cast("list[float]", embedding)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = read.objects(read.an_object(content, "content").get("parts") or [], "content.parts")
    words = [read.text(part["text"], "content.parts.text") for part in parts if part.get("text")]
    if len(words) < len(parts) and any("text" not in part for part in parts):
        raise Unfit("Only words can be embedded.", "content.parts", "Leave other parts out.")
    if not words:
        raise Unfit("content is empty", "content", "Add a text part.")
    return "\n".join(words)


def _dimensions(given: object) -> int | None:
    if given is None:
        return None
    values = read.whole(given, "outputDimensionality")
    if not 1 <= values <= MOST_VALUES:
        raise Unfit(f"outputDimensionality is {values}.", "outputDimensionality", "It is 1 or more.")
    return values
