"""`batchyard submit`: a file of requests becomes a batch of a server."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct

from batchyard.cli import flags, remote

if TYPE_CHECKING:
    from batchyard.transport.api import Api

BIG_BYTES = 512_000_000
"""Files above this go in parts: OpenAI takes no more in one call."""
SHOWN_ERRORS = 20


class _Wish(Struct, frozen=True, kw_only=True):
    """What a submit is asked to do."""

    file: str
    endpoint: str | None
    window: str
    metadata: dict[str, str] | None
    key: str
    in_parts: bool
    check: bool
    progress: flags.Progress


def submit(
    file: Annotated[str, typer.Argument(help="A path, - or an http(s) URL; gzip and zstd too.")],
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Default: the url of the first line.", metavar="PATH")
    ] = None,
    window: Annotated[
        str, typer.Option("--window", help="Completion window, as the server names it.", metavar="TIME")
    ] = "24h",
    metadata: remote.Metadata = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the batch until it has ended.")] = False,
    output: Annotated[
        str | None,
        typer.Option("--output-file", "-o", help="Wait, and bring the lines that succeeded there.", metavar="FILE"),
    ] = None,
    errors: Annotated[
        str | None, typer.Option("--errors", help="Wait, and bring the other lines there.", metavar="FILE")
    ] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Check every line before anything is sent.")] = True,
    parts: Annotated[
        bool, typer.Option("--parts", help=f"Send the file in parts, as is done above {BIG_BYTES // 10**6} MB.")
    ] = False,
    idempotency_key: remote.IdempotencyKey = None,
    as_json: flags.AsJson = False,
    progress: flags.ShowProgress = flags.Progress.AUTO,
    base_url: remote.BaseUrl = remote.DEFAULT_URL,
    api_key_env: remote.ApiKeyEnv = None,
) -> None:
    """Check a file, send it to a server, and make a batch of it; print the batch's id.

    A connection that breaks costs time: what was made is found again, and nothing is made twice.

    Exit codes: 0 made (with --wait: every line was answered), 1 lines cannot run, the server says no or does not
    answer, 2 the command line is wrong; with --wait also 3, 4, 5 and 6 as batchyard watch, and 130.
    """
    import secrets

    wish = _Wish(
        file=file,
        endpoint=endpoint,
        window=window,
        metadata=remote.pairs(metadata),
        key=idempotency_key or f"submit-{secrets.token_hex(16)}",
        in_parts=parts,
        check=check,
        progress=progress,
    )
    with remote.server(base_url, api_key_env) as api:
        batch = _submitted(api, wish)
        if not (wait or output or errors):
            remote.show_json(batch) if as_json else typer.echo(batch["id"])
            return
        remote.say(f"The batch is {batch['id']}.")
        code = _waited(api, batch["id"], output, errors, progress, as_json=as_json)
    raise typer.Exit(code)


def _waited(
    api: "Api", id: str, output: str | None, errors: str | None, style: flags.Progress, *, as_json: bool
) -> int:
    """Follow the batch, bring what it made; the exit code."""
    from batchyard.cli.batches import show
    from batchyard.cli.results import brought
    from batchyard.cli.watch import watched

    batch, end = watched(api, id, style)
    if output is not None or errors is not None:
        brought(api, batch, output, errors, style)
    if output != "-":
        show(batch, as_json=as_json)
    return int(end)


def _submitted(api: "Api", wish: _Wish) -> remote.Object:
    """Fetch, check, send, make."""
    import tempfile

    from batchyard.cli.transfer import SENDING, Transfer
    from batchyard.pipeline.fetch import fetch

    with tempfile.TemporaryDirectory(prefix="batchyard-") as folder:
        path = fetch(wish.file, folder).path
        endpoint = _checked(path, folder, wish) if wish.check else wish.endpoint or first_url(path)
        transfer = Transfer(wish.progress, SENDING)
        try:
            file = _sent(api, path, wish, transfer)
        finally:
            transfer.close()
    try:
        return made(api, file["id"], endpoint, wish.window, wish.metadata, wish.key)
    except BaseException:
        remote.say(f"The file is on the server: {file['id']}.")
        raise


def _sent(api: "Api", path: str, wish: _Wish, transfer: Any) -> remote.Object:
    """The file on the server. A key that does not fit is found before the bytes are sent, not after."""
    from batchyard.transport.api import ApiError
    from batchyard.transport.sending import send_file, send_parts

    big = Path(path).stat().st_size > BIG_BYTES
    api.get("/files", limit=1)
    if wish.in_parts or big:
        try:
            return send_parts(api, path, name_of(wish.file), "batch", transfer.moved, wish.key)
        except ApiError as error:
            if wish.in_parts or error.status not in (404, 405):
                raise
    return send_file(api, path, name_of(wish.file), "batch", transfer.moved, wish.key)


def made(
    api: "Api", file_id: str, endpoint: str, window: str, metadata: dict[str, str] | None, key: str
) -> remote.Object:
    """The batch. Where the answer is lost, the batch of our file is looked for: no server need know of idempotency."""

    def made_before() -> remote.Object | None:
        found, _ = api.pages("/batches", 100)
        return next((batch for batch in found if batch.get("input_file_id") == file_id), None)

    asked = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": window}
    body = asked if metadata is None else {**asked, "metadata": metadata}
    return api.call("POST", "/batches", body, headers={"Idempotency-Key": key}, done_before=made_before)


def name_of(place: str) -> str:
    """What the file is called on the server: some servers insist on the ending."""
    from urllib.parse import urlsplit

    path = urlsplit(place).path if "://" in place else place
    name = "stdin" if place == "-" else Path(path).name
    for ending in (".gz", ".zst"):
        name = name.removesuffix(ending)
    return name if name.endswith(".jsonl") else f"{name or 'batch'}.jsonl"


# Checking


def _checked(path: str, folder: str, wish: _Wish) -> str:
    """Check every line as a server would; the endpoint. Ends the command where some cannot run."""
    from batchyard import wiring
    from batchyard.dialects.lines import openai
    from batchyard.endpoints import ENDPOINTS
    from batchyard.pipeline.validate import validate

    # As lines of a batch: nothing on our side can name their model. Whether there may be several, the server knows.
    dialect = openai.open(openai.Config(run_id="", endpoints=ENDPOINTS, batch=True, several_models=True))
    verdict = validate(
        wiring.local_disk(), path, f"{folder}/plan", dialect, dedupe=False, on_progress=lambda done, lines: None
    )
    if verdict.error_count:
        from batchyard.cli.running import line_text

        for error in verdict.errors[:SHOWN_ERRORS]:
            sys.stderr.write(line_text(error) + "\n")
        raise remote.failed(
            f"{verdict.error_count:,} of {verdict.lines:,} lines cannot run; nothing was sent. "
            "batchyard validate names them all; where the server knows better, take --no-check."
        )
    if not verdict.lines:
        raise remote.failed("The file has no lines; nothing was sent.")
    for what, counts in (("endpoint", verdict.by_endpoint), ("model", verdict.by_model)):
        if len(counts) > 1:
            raise remote.failed(
                f"The lines name more than one {what} ({', '.join(sorted(counts)[:5])}); nothing was sent. "
                "A batch has one: make a file of each."
            )
    return _held_to(wish.endpoint, first_url(path))


def _held_to(asked: str | None, found: str) -> str:
    if asked is not None and asked.removeprefix("/v1").strip("/") != found.removeprefix("/v1").strip("/"):
        raise remote.failed(f"The lines are for {found}, not {asked}; nothing was sent.")
    return asked or found


def first_url(path: str) -> str:
    """The endpoint that the first line names."""
    import msgspec

    with open(path, "rb") as file:
        line = next((line for line in file if line.strip()), b"")
    try:
        url: Any = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf")).get("url")
    except (msgspec.DecodeError, AttributeError):
        url = None
    if not isinstance(url, str):
        raise remote.failed("The first line names no url: say the endpoint with --endpoint.")
    return url
