"""`batchyard projects`: the tenants of a server."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli import flags, remote, tenants
from batchyard.cli.options import PanelledCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchyard.domain.access import Project
    from batchyard.service.access import Access

projects = typer.Typer(
    help="The tenants of a server, on its data folder: each has its own files, batches and keys.",
    short_help="The tenants of a server.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@projects.command("list", cls=PanelledCommand, short_help="All projects.")
def list_projects(as_json: flags.AsJson = False, data_dir: tenants.DataDir = tenants.DEFAULT_FOLDER) -> None:
    """List all projects, oldest first.

    Exit codes: 0 listed, 1 there is no such folder, 2 the command line is wrong.
    """

    async def step(access: "Access") -> "Sequence[Project]":
        return await access.list_projects(tenants.operator())

    found = tenants.managed(data_dir, step)
    if as_json:
        remote.show_list([_facts(project) for project in found], more=False)
        return
    rows = [[project.id, project.name, remote.time_of(project.created_at)] for project in found]
    remote.show_table(["ID", "NAME", "CREATED"], rows)


@projects.command("create", cls=PanelledCommand, short_help="A new project.")
def create_project(
    name: Annotated[str, typer.Argument(help="What the project is called; no two may be called the same.")],
    as_json: flags.AsJson = False,
    data_dir: tenants.DataDir = tenants.DEFAULT_FOLDER,
) -> None:
    """Make a project and print its id. Keys for it: batchyard keys create --project NAME.

    Exit codes: 0 made, 1 the name is taken or there is no such folder, 2 the command line is wrong.
    """

    async def step(access: "Access") -> "Project":
        return await access.create_project(tenants.operator(), name)

    made = tenants.managed(data_dir, step)
    remote.show_json(_facts(made)) if as_json else typer.echo(made.id)


def _facts(project: "Project") -> dict[str, object]:
    return {"id": project.id, "name": project.name, "created": project.created_at}
