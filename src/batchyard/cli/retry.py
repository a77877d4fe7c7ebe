"""`batchyard retry`: what a batch did not answer, asked again."""

import typer

from batchyard.cli import flags, remote


def retry(
    id: remote.BatchId,
    window: remote.Window = None,
    metadata: remote.Metadata = None,
    idempotency_key: remote.IdempotencyKey = None,
    as_json: flags.AsJson = False,
    base_url: remote.BaseUrl = remote.DEFAULT_URL,
    api_key_env: remote.ApiKeyEnv = None,
) -> None:
    """Make a new batch of the lines of an ended one that failed, expired or were cancelled; print its id.

    The server does it: an extension of Batchyard's wire, which other servers do not have.

    Exit codes: 0 made, 1 the server says no or does not answer, 2 the command line is wrong.
    """
    import secrets

    from batchyard.transport.api import ApiError, path_of

    asked = {"completion_window": window, "metadata": remote.pairs(metadata)}
    body = {name: value for name, value in asked.items() if value is not None}
    once = {"Idempotency-Key": idempotency_key or f"retry-{secrets.token_hex(16)}"}
    with remote.server(base_url, api_key_env) as api:
        try:
            made = api.call("POST", path_of("batches", id, "retry"), body, headers=once)
        except ApiError as error:
            if error.status in (404, 405) and "No batch found" not in error.message:
                raise remote.failed(f"{error} Only Batchyard's servers can retry a batch.") from None
            raise
        remote.show_json(made) if as_json else typer.echo(made["id"])
