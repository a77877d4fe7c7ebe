"""Models by the names that Gemini's scripts have in them, and what to do where none has such a name."""

from collections.abc import Callable

from batchyard.domain.errors import NotFound
from batchyard.server.models import Model


def named(name: str, find: Callable[[], Model]) -> Model:
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
