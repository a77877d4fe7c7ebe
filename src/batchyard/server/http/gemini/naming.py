"""Models by the names that Gemini's scripts have in them, and what to do where none has such a name."""

from collections.abc import Callable
from typing import TypeVar

from batchyard.domain.errors import NotFound

T = TypeVar("T")


def named(name: str, find: Callable[[], T]) -> T:
    """What is found. Raises NotFound, and says how a model gets another name."""
    try:
        return find()
    except NotFound as error:
        raise NotFound(
            f"The model '{name}' does not exist.",
            remedy=f'GET /v1beta/models lists those that do. Add "{name}" to the `aliases` of one of them in '
            "batchyard.toml, and it answers to that name.",
            param=error.param, reason=error.reason,
        ) from None  # fmt: skip
