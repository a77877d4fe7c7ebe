"""Models and files by the names that Gemini's scripts have for them, and what is said where none has such a name."""

from collections.abc import Callable
from typing import TypeVar

from batchyard.dialects.gemini.unfit import Rpc, Unfit
from batchyard.domain.access import Caller
from batchyard.domain.errors import NotFound
from batchyard.domain.file import File
from batchyard.service.files import Files

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


async def file_named(files: Files, caller: Caller, name: str) -> File:
    """A file by its name, without `files/`. Raises Unfit in the words of the wire, which keep apart neither what is
    another's and what is not there, nor what never was and what is no more."""
    try:
        return await files.named(caller, name)
    except NotFound:
        raise Unfit(
            f"You may not access the file files/{name[:100]}, or it does not exist.", code=Rpc.PERMISSION_DENIED
        ) from None
