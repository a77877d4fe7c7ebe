"""The contract of an endpoint: what one kind of request looks like. Pure."""

from typing import Protocol

import msgspec
from msgspec import Struct


class Traits(Struct, frozen=True, gc=False):
    """What the plan wants to know of a body: see the fields of the same names of `Line`."""

    prefix: int
    digest: int
    input_tokens: int
    output_tokens: int


class Problem(Struct, frozen=True, gc=False):
    """What is wrong with a body: `param` is a dotted path below `body`."""

    code: str
    message: str
    param: str
    remedy: str = ""


class Endpoint(Protocol):
    """One kind of request, named by its canonical path."""

    path: str

    def check(self, body: msgspec.Raw) -> Traits | Problem:
        """Check what must hold before an engine sees the body, and take its traits in the same pass."""
        ...
