"""What the commands share that manage keys and projects: the folder, whose name they act in, and times to come."""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from batchyard.cli import remote

if TYPE_CHECKING:
    from batchyard.domain.access import Caller, ProjectId
    from batchyard.service.access import Access

T = TypeVar("T")

DataDir = Annotated[
    str,
    typer.Option(
        "--data-dir",
        help="The server's folder. The server may run meanwhile.",
        metavar="FOLDER",
        envvar="BATCHYARD_DATA_DIR",
    ),
]
DEFAULT_FOLDER = "batchyard-data"

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def managed(folder: str, step: "Callable[[Access], Awaitable[T]]") -> T:
    """Do something with the keys and projects of a folder. What goes wrong is told in a line, and ends the command."""
    import asyncio

    from batchyard.wiring.keys import open_access

    async def run() -> T:
        async with open_access(folder) as access:
            return await step(access)

    with remote.told():
        return asyncio.run(run())


def operator() -> "Caller":
    """Whoever may read the server's folder runs it."""
    from batchyard.domain.access import HOME, Caller, Role

    return Caller(HOME, Role.ADMIN)


async def project_of(access: "Access", named: str | None) -> "ProjectId | None":
    """A project by its id or its name; None where none is named."""
    from batchyard.domain.errors import NotFound

    if named is None:
        return None
    for project in await access.list_projects(operator()):
        if named in (project.id, project.name):
            return project.id
    raise NotFound(f"No such project: {named}.", remedy="batchyard projects list names them all.")


def seconds_of(text: str) -> int:
    """`90d`, `12h`, `30m`: how long."""
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text} is not a time such as 90d, 12h or 30m.")
    return int(found[1]) * _UNITS[found[2]]
