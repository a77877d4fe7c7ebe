"""What several endpoints check in the same way."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.policy.dedupe import repeatable

MOST_TOKENS = 0xFFFFFFFF

ARRAY = b"["
STRING = b'"'

_KINDS = {ARRAY: "an array", b"{": "an object", STRING: "a string", b"t": "a boolean", b"f": "a boolean"}


def generation(body: Body) -> Traits | Problem:
    """Check how a generation samples, and take its traits."""
    if body.n is not None or body.seed is not None:
        problem = fraction(body, "n", "seed")
        if problem is not None:
            return problem
    limit = body.max_tokens
    if limit is None:
        limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_output_tokens
    if type(limit) is float:
        problem = fraction(body, "max_tokens", "max_completion_tokens", "max_output_tokens")
        if problem is not None:
            return problem
    return Traits(
        repeatable(body.temperature, body.n, body.seed),
        0 if limit is None else _all_choices(limit, body.n),
    )


POOLING = Traits(repeatable=True, output_tokens=0)
"""The traits of a request that generates nothing: its answer is a function of it."""


def not_a(key: str, value: bytes, expected: str) -> Problem:
    """The problem of a field that is absent, or of another JSON type than `expected` (in words)."""
    if absent(value):
        return Problem(
            "invalid_request", f"Missing required field 'body.{key}'.", key, f"Add '{key}' to the body: {expected}."
        )
    got = _KINDS.get(value[:1], "a number")
    return Problem("invalid_request", f"'body.{key}' is {got}.", key, f"Write '{key}' as {expected}.")


def absent(value: bytes) -> bool:
    """Whether a field is not there, or null."""
    return not value or value == b"null"


def fraction(body: Body, *keys: str) -> Problem | None:
    """The problem of a number among `keys` that is not whole."""
    for key in keys:
        value: int | float | None = getattr(body, key)
        if type(value) is float and not value.is_integer():
            return Problem("invalid_request", f"'body.{key}' is {value}.", key, f"Write '{key}' as a whole number.")
    return None


def _all_choices(limit: float, n: float | None) -> int:
    """The most tokens of an answer, all its choices together, as far as a plan can hold the number."""
    limit = min(max(limit, 0), MOST_TOKENS)
    return int(limit if n is None else min(limit * min(max(n, 0), MOST_TOKENS), MOST_TOKENS))
