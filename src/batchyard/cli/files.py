"""`batchyard files`: the files of a server: listed, shown, downloaded, deleted."""

from typing import Annotated, Any

import typer

from batchyard.cli import flags, remote

COLUMNS = ("id", "purpose", "size", "created", "name")


def files(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="A file's id; without one, all.")] = None,
    download: Annotated[
        str | None,
        typer.Option("--download", help="Write the file's content there; - is standard output.", metavar="PATH"),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the file, after a download where both are asked.")
    ] = False,
    purpose: Annotated[str | None, typer.Option("--purpose", help="List only these.", metavar="NAME")] = None,
    limit: remote.Limit = 20,
    as_json: flags.AsJson = False,
    progress: flags.ShowProgress = flags.Progress.AUTO,
    base_url: remote.BaseUrl = remote.DEFAULT_URL,
    api_key_env: remote.ApiKeyEnv = None,
) -> None:
    """List the files of a server, newest first; show, download or delete one of them.

    A download that broke off goes on where it stopped when the same command runs again.

    Exit codes: 0 done, 1 the server says no or does not answer, 2 the command line is wrong.
    """
    if id is None and (download or delete):
        raise typer.BadParameter("--download and --delete need the ID of a file.")
    with remote.server(base_url, api_key_env) as api:
        if id is None:
            found, more = api.pages("/files", limit, purpose=purpose)
            _list(found, more, as_json=as_json)
            return
        from batchyard.transport.api import path_of

        if download is not None:
            from batchyard.cli.transfer import fetched

            fetched(api, id, download, progress)
        if delete:
            answer = api.call("DELETE", path_of("files", id))
            remote.show_json(answer) if as_json else remote.say(f"Deleted: {id}")
        elif download is None:
            _show(api.get(path_of("files", id)), as_json=as_json)


def _list(found: list[remote.Object], more: bool, *, as_json: bool) -> None:
    if as_json:
        remote.show_list(found, more=more)
        return
    rows = [[facts[name] for name in COLUMNS] for facts in map(_facts, found)]
    remote.show_table([name.upper() for name in COLUMNS], rows)
    if more:
        remote.say("There are more: --limit shows them.")


def _show(file: remote.Object, *, as_json: bool) -> None:
    remote.show_json(file) if as_json else remote.show_facts(_facts(file))


def _facts(file: remote.Object) -> dict[str, str]:
    from batchyard.cli.wording import data

    size: Any = file.get("bytes")
    return {
        "id": str(file.get("id", "")),
        "name": str(file.get("filename") or ""),
        "purpose": str(file.get("purpose") or ""),
        "size": data(size) if isinstance(size, int) else "",
        "created": remote.time_of(file.get("created_at")),
        "expires": remote.time_of(file.get("expires_at")),
    }
