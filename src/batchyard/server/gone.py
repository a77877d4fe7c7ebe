"""Work on behalf of a caller who may hang up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.types import Receive

T = TypeVar("T")


class Gone(Exception):
    """The caller hung up before the work was done."""


async def unless_gone(work: Callable[[], Awaitable[T]], receive: Receive) -> T:
    """Do the work; where the caller hangs up first, cancel it and raise Gone. The call's body must have been read."""

    async def do() -> T:
        return await work()

    async with asyncio.TaskGroup() as group:
        doing = group.create_task(do())
        watching = group.create_task(_hung_up(receive))
        watching.add_done_callback(lambda _: doing.cancel())
        doing.add_done_callback(lambda _: watching.cancel())
    if doing.cancelled():
        raise Gone
    return doing.result()


async def _hung_up(receive: Receive) -> None:
    """Returns when the caller has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
