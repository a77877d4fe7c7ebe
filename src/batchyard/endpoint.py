"""The contract of an endpoint: what one kind of request looks like. Pure."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

NOTHING = Raw(b"")
"""A raw field that the body does not have."""


class Body(Struct, gc=False):
    """The fields of a body that we look at, whatever its endpoint; all others pass to the engine untouched.

    The large ones stay raw JSON: they are measured and hashed, never built. A number that should be whole may be
    written as `3.0`.
    """

    model: str | None = None
    stream: bool | str | None = None
    messages: Raw = NOTHING
    prompt: Raw = NOTHING
    input: Raw = NOTHING
    query: Raw = NOTHING
    queries: Raw = NOTHING
    documents: Raw = NOTHING
    items: Raw = NOTHING
    text_1: Raw = NOTHING
    text_2: Raw = NOTHING
    data_1: Raw = NOTHING
    data_2: Raw = NOTHING
    temperature: float | None = None
    n: int | float | None = None
    seed: int | float | None = None
    max_tokens: int | float | None = None
    max_completion_tokens: int | float | None = None
    max_output_tokens: int | float | None = None
    size: Raw = NOTHING
    response_format: Raw = NOTHING


BODY_KEYS: tuple[str, ...] = Body.__struct_fields__
"""The keys of a body that must not be repeated, because we read them."""

decode_body = msgspec.json.Decoder(Body).decode
"""Raises msgspec.DecodeError where the bytes are not JSON, msgspec.ValidationError where a field has a wrong type."""


class Traits(Struct, frozen=True, gc=False):
    """What the plan wants to know of a body.

    `repeatable` says that an equal request gets an equal answer. `output_tokens` is the most that the request asks for,
    0 where it names no limit.
    """

    repeatable: bool
    output_tokens: int


class Problem(Struct, frozen=True, gc=False):
    """What is wrong with a body: `param` is a dotted path below `body`."""

    code: str
    message: str
    param: str
    remedy: str = ""


class Endpoint(Protocol):
    """One kind of request, named by its canonical path; `prompt` is the body's key of what the model reads."""

    path: str
    prompt: str

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        """Check what must hold before an engine sees the body, and take its traits.

        `prompt` is the JSON of the body's field of that name, empty where it is absent: who calls has it at hand. Only
        its first byte, which tells its type, may decide anything: what was found is taken for granted when only the
        rest of the prompt differs.
        """
        ...


class Retelling(Protocol):
    """The pieces of one streamed answer, said as pieces of another endpoint (`engine.Say` says what a piece is).

    Both raise msgspec.DecodeError or ValueError where a piece has not the shape of its endpoint.
    """

    def tell(self, piece: bytes) -> Sequence[bytes]:
        """What one piece becomes; perhaps nothing, perhaps several."""
        ...

    def end(self) -> Sequence[bytes]:
        """What is to be said after the last piece."""
        ...


class Translation(Struct, frozen=True):
    """How requests of one endpoint can be said as requests of another, and the answers back.

    `request` takes a body; `answer` an answer's body and the body it was asked with, and raises msgspec.DecodeError or
    ValueError where the answer has not the shape of its endpoint. `retell` begins with the body of a request whose
    answer comes in pieces; without it answers come whole.
    """

    source: str
    target: str
    request: Callable[[bytes], bytes | Problem]
    answer: Callable[[bytes, bytes], bytes]
    retell: Callable[[bytes], Retelling] | None = None


class Loose(Struct, frozen=True, gc=False):
    """A request that can be asked together with others of equal `options`: JSON of its body without its `text`."""

    options: bytes
    text: bytes


class Grouping(Struct, frozen=True):
    """How requests of one endpoint are asked in one call, and how its answer is taken apart.

    `read` takes a body; None where it must go alone. `join` makes one body of options and texts. `split` takes the body
    of an answer and the weights of the texts, by which what was used is shared out; it gives the body of each answer,
    None where the answer does not fit what was asked.
    """

    endpoint: str
    read: Callable[[bytes], Loose | None]
    join: Callable[[bytes, Sequence[bytes]], bytes]
    split: Callable[[bytes, Sequence[int]], list[bytes] | None]
