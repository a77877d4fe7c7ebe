"""`batchyard batches`: the batches of a server, or one of them."""

from typing import Annotated

import typer

from batchyard.cli import flags, remote

COLUMNS = ("id", "status", "lines", "created", "model")


def batches(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="A batch's id; without one, all.")] = None,
    limit: remote.Limit = 20,
    as_json: flags.AsJson = False,
    base_url: remote.BaseUrl = remote.DEFAULT_URL,
    api_key_env: remote.ApiKeyEnv = None,
) -> None:
    """List the batches of a server, newest first, or show one of them.

    Exit codes: 0 shown, 1 the server says no or does not answer, 2 the command line is wrong.
    """
    with remote.server(base_url, api_key_env) as api:
        if id is not None:
            from batchyard.transport.api import path_of

            show(api.get(path_of("batches", id)), as_json=as_json)
            return
        found, more = api.pages("/batches", limit)
        if as_json:
            remote.show_list(found, more=more)
            return
        from batchyard.cli.seen import facts_of

        rows = [[facts[name] for name in COLUMNS] for facts in map(facts_of, found)]
        remote.show_table([name.upper() for name in COLUMNS], rows)
        if more:
            remote.say("There are more: --limit shows them.")


def show(batch: remote.Object, *, as_json: bool) -> None:
    """One batch: its facts, and why it could not run where that is so."""
    if as_json:
        remote.show_json(batch)
        return
    from batchyard.cli.seen import errors_of, facts_of

    remote.show_facts(facts_of(batch))
    for error in errors_of(batch):
        typer.echo(error)
