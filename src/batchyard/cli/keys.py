"""`batchyard keys`: who may use a server. A secret is printed once, alone on standard output."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli import flags, remote, tenants
from batchyard.cli.options import PanelledCommand

if TYPE_CHECKING:
    from batchyard.domain.access import Key, KeyId, ProjectId
    from batchyard.service.access import Access

COLUMNS = ("id", "name", "role", "project", "begins", "state", "created", "expires", "used")

Project = Annotated[str | None, typer.Option("--project", help="A project's name or id.", metavar="PROJECT")]

keys = typer.Typer(
    help="Who may use a server: its keys, on its data folder.",
    short_help="Who may use a server.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@keys.command("list", cls=PanelledCommand, short_help="All keys, revoked ones too.")
def list_keys(
    project: Project = None,
    as_json: flags.AsJson = False,
    data_dir: tenants.DataDir = tenants.DEFAULT_FOLDER,
) -> None:
    """List the keys of all projects, or of one. Secrets are not kept, so they cannot be shown.

    Exit codes: 0 listed, 1 there is no such folder or project, 2 the command line is wrong.
    """

    async def step(access: "Access") -> "list[tuple[str, Key]]":
        asked = await tenants.project_of(access, project)
        found = [each for each in await access.list_projects(tenants.operator()) if asked in (None, each.id)]
        lists = [(each.name, await access.list_keys(tenants.operator(), project=each.id)) for each in found]
        return [(name, key) for name, keys in lists for key in keys]

    rows = [_facts(name, key) for name, key in tenants.managed(data_dir, step)]
    if as_json:
        remote.show_list(rows, more=False)
        return
    shown = [[_cell(name, row[name]) for name in COLUMNS] for row in rows]
    remote.show_table([name.upper() for name in COLUMNS], shown)


@keys.command("create", cls=PanelledCommand, short_help="A new key.")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "key",
    role: Annotated[
        str, typer.Option("--role", help="admin, editor, viewer or datasets-editor.", metavar="ROLE")
    ] = "editor",
    expires: Annotated[
        str | None,
        typer.Option("--expires", help="How long it works: 90d, 12h, 30m. Default: for ever.", metavar="TIME"),
    ] = None,
    project: Project = None,
    as_json: flags.AsJson = False,
    data_dir: tenants.DataDir = tenants.DEFAULT_FOLDER,
) -> None:
    """Make a key and print its secret, which is never shown again: KEY=$(batchyard keys create laptop).

    A running server takes it at once.

    Exit codes: 0 made, 1 there is no such folder or project, 2 the command line is wrong.
    """
    from batchyard.clock import SystemClock
    from batchyard.domain.access import Role

    if role not in tuple(Role):
        raise typer.BadParameter(f"{role} is no role: there are {', '.join(Role)}.", param_hint="--role")
    ends_at = None if expires is None else int(SystemClock().now()) + tenants.seconds_of(expires)

    async def step(access: "Access") -> "tuple[Key, str]":
        asked = await tenants.project_of(access, project)
        return await access.create_key(tenants.operator(), name, Role(role), project=asked, expires_at=ends_at)

    _show_secret(*tenants.managed(data_dir, step), as_json=as_json)


@keys.command("revoke", cls=PanelledCommand, short_help="End keys at once.")
def revoke_keys(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Keys' ids, or how their secrets begin.")],
    as_json: flags.AsJson = False,
    data_dir: tenants.DataDir = tenants.DEFAULT_FOLDER,
) -> None:
    """End keys at once, for good. A running server refuses them from then on.

    Exit codes: 0 ended, 1 there is no such folder or key, 2 the command line is wrong.
    """

    async def step(access: "Access") -> "list[Key]":
        found = [await _found(access, id) for id in ids]
        return [await access.revoke_key(tenants.operator(), key, project=owner) for key, owner in found]

    revoked = tenants.managed(data_dir, step)
    if as_json:
        remote.show_list([_facts(key.project, key) for key in revoked], more=False)
        return
    for key in revoked:
        remote.say(f"Revoked: {key.id} ({key.name})")


@keys.command("rotate", cls=PanelledCommand, short_help="A new key in the place of an old one.")
def rotate_key(
    id: Annotated[str, typer.Argument(metavar="ID", help="A key's id, or how its secret begins.")],
    grace: Annotated[
        str, typer.Option("--grace", help="How long the old one still works: 1d, 1h, 0s.", metavar="TIME")
    ] = "1d",
    as_json: flags.AsJson = False,
    data_dir: tenants.DataDir = tenants.DEFAULT_FOLDER,
) -> None:
    """Make a key like an old one and print its secret; the old one works a while longer.

    Exit codes: 0 made, 1 there is no such folder or key, or it is revoked, 2 the command line is wrong.
    """
    seconds = tenants.seconds_of(grace)

    async def step(access: "Access") -> "tuple[Key, str]":
        key, owner = await _found(access, id)
        return await access.rotate_key(tenants.operator(), key, project=owner, grace_seconds=seconds)

    _show_secret(*tenants.managed(data_dir, step), as_json=as_json)


async def _found(access: "Access", named: str) -> "tuple[KeyId, ProjectId]":
    """A key by its id, or by the public beginning of its secret, and whose it is."""
    from batchyard.domain.errors import NotFound

    for project in await access.list_projects(tenants.operator()):
        for key in await access.list_keys(tenants.operator(), project=project.id):
            if named in (key.id, key.prefix):
                return key.id, project.id
    raise NotFound(f"No such key: {named}.", remedy="batchyard keys list names them all.")


def _show_secret(key: "Key", secret: str, *, as_json: bool) -> None:
    if as_json:
        remote.show_json({**_facts(key.project, key), "secret": secret})
        return
    remote.say(f"{key.id}: {key.name}, {key.role} of {key.project}. This is the only time that the secret is shown.")
    typer.echo(secret)


def _facts(project: str, key: "Key") -> dict[str, object]:
    """A key for programs; its hash is nobody's business."""
    from batchyard.clock import SystemClock

    works = key.works(int(SystemClock().now()))
    return {
        "id": key.id,
        "name": key.name,
        "role": str(key.role),
        "project": project,
        "begins": key.prefix,
        "state": "active" if works else "revoked" if key.revoked_at is not None else "expired",
        "created": key.created_at,
        "expires": key.expires_at,
        "used": key.last_used_at,
    }


def _cell(name: str, value: object) -> str:
    return remote.time_of(value) if name in ("created", "expires", "used") else str(value)
