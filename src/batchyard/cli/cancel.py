"""`batchyard cancel`: batches asked to end with what they have."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli import flags, remote

if TYPE_CHECKING:
    from batchyard.transport.api import Api


def cancel(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Batches' ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Cancel every batch that has not ended.")] = False,
    as_json: flags.AsJson = False,
    base_url: remote.BaseUrl = remote.DEFAULT_URL,
    api_key_env: remote.ApiKeyEnv = None,
) -> None:
    """Ask batches to end with what they have. What was answered until then can be downloaded.

    Exit codes: 0 all were asked to end, 1 one was not, or the server does not answer, 2 the command line is wrong.
    """
    if bool(ids) == everything:
        raise typer.BadParameter("Give the ids of batches, or --all.")
    from batchyard.transport.api import ApiError, path_of

    with remote.server(base_url, api_key_env) as api:
        done, refused = list[remote.Object](), 0
        for id in _unended(api) if everything else ids or ():
            try:
                done.append(api.call("POST", path_of("batches", id, "cancel")))
            except ApiError as error:
                if error.status is None:
                    raise  # nobody answers: the next would fare no better
                refused += 1
                remote.say(f"{id}: {error}")
                continue
            if not as_json:
                typer.echo(f"{id}  {done[-1].get('status')}")
        if as_json:
            remote.show_list(done, more=False)
        elif not done and not refused:
            remote.say("There is nothing to cancel.")
    raise typer.Exit(1 if refused else 0)


def _unended(api: "Api") -> list[str]:
    from batchyard.cli.seen import end_of, status_of

    found, _ = api.pages("/batches")
    return [batch["id"] for batch in found if end_of(batch) is None and status_of(batch) != "cancelling"]
