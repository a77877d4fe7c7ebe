"""`batchyard retry`: what a batch did not answer, asked again: by the server where it can, otherwise from here."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from batchyard.cli import flags, remote

if TYPE_CHECKING:
    from batchyard.transport.api import Api


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

    Batchyard's servers do it by themselves. From any other the input and the output come here, and what is left goes
    back.

    Exit codes: 0 made, 1 the server says no or does not answer, 2 the command line is wrong.
    """
    import secrets

    from batchyard.transport.api import ApiError, path_of

    pairs, key = remote.pairs(metadata), idempotency_key or f"retry-{secrets.token_hex(16)}"
    asked = {"completion_window": window, "metadata": pairs}
    body = {name: value for name, value in asked.items() if value is not None}
    with remote.server(base_url, api_key_env) as api:
        old = api.get(path_of("batches", id))
        try:
            new = api.call("POST", path_of("batches", id, "retry"), body, headers={"Idempotency-Key": key})
        except ApiError as error:
            if error.status not in (404, 405):
                raise
            new = _from_here(api, old, window, pairs, key)
        remote.show_json(new) if as_json else typer.echo(new["id"])


def _from_here(
    api: "Api", old: remote.Object, window: str | None, metadata: dict[str, str] | None, key: str
) -> remote.Object:
    """Of a server that cannot retry: bring the lines here, keep those that did not succeed, and send them."""
    import tempfile

    from batchyard.cli.seen import End, end_of, status_of
    from batchyard.cli.submit import made
    from batchyard.transport.sending import send_file

    end = end_of(old)
    if end is None:
        raise remote.failed(f"The batch has not ended: it is {status_of(old)}.")
    if end is End.FAILED:
        raise remote.failed("The batch did not run: mend its file, and submit it.")
    with tempfile.TemporaryDirectory(prefix="batchyard-") as folder:
        left = _left(api, old, folder)
        if left is None:
            raise remote.failed("There is nothing to retry: every line of this batch succeeded.")
        file = send_file(api, left, f"{old['id']}_retry.jsonl", "batch", lambda done, total: None, key)
    pairs: dict[str, str] | None = metadata if metadata is not None else old.get("metadata")
    return made(api, file["id"], old["endpoint"], window or old["completion_window"], pairs, key)


def _left(api: "Api", old: remote.Object, folder: str) -> str | None:
    """A file of the lines that did not succeed, as they stood; None where all did. Results may come in any order."""
    import msgspec

    from batchyard.transport.fetching import fetch_file

    source, results, left = (f"{folder}/{name}" for name in ("input", "output", "left"))
    fetch_file(api, old["input_file_id"], source, lambda done, total: None)
    answered = set[str]()
    if old.get("output_file_id"):
        fetch_file(api, old["output_file_id"], results, lambda done, total: None)
        answered = {result["custom_id"] for result in map(msgspec.json.decode, _lines(results)) if _succeeded(result)}
    count = 0
    with open(left, "wb") as file:
        for line in _lines(source):
            if msgspec.json.decode(line).get("custom_id") not in answered:
                file.write(line.rstrip(b"\r\n") + b"\n")
                count += 1
    return left if count else None


def _lines(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for line in file:
            if line.strip():
                yield line.removeprefix(b"\xef\xbb\xbf")


def _succeeded(result: Any) -> bool:
    """Some servers have lines that failed among the others."""
    response: Any = result.get("response") or {}
    status: Any = response.get("status_code", 200)
    return not result.get("error") and 200 <= int(status) < 300
