"""`batchyard results`: the answers of a batch, brought here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli import flags, remote

if TYPE_CHECKING:
    from batchyard.transport.api import Api

LINES_AT_ONCE = 10_000

Output = Annotated[
    str,
    typer.Option("--output-file", "-o", help="Where lines that succeeded go; - is standard output.", metavar="FILE"),
]
Errors = Annotated[str | None, typer.Option("--errors", help="Where the other lines go.", metavar="FILE")]


def results(
    id: remote.BatchId,
    output: Output,
    errors: Errors = None,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial", help="Take what is there, though the batch has not ended (Batchyard's servers only)."
        ),
    ] = False,
    as_json: flags.AsJson = False,
    progress: flags.ShowProgress = flags.Progress.AUTO,
    base_url: remote.BaseUrl = remote.DEFAULT_URL,
    api_key_env: remote.ApiKeyEnv = None,
) -> None:
    """Download the results of a batch that has ended: whole, checked, and under their names only then.

    A download that broke off goes on where it stopped when the same command runs again.

    Exit codes: 0 done, 1 the server says no or does not answer, 2 the command line is wrong.
    """
    from batchyard.cli.seen import end_of, status_of
    from batchyard.transport.api import path_of

    with remote.server(base_url, api_key_env) as api:
        batch = api.get(path_of("batches", id))
        if end_of(batch) is None and not partial:
            raise remote.failed(
                f"The batch has not ended: it is {status_of(batch)}. Wait with batchyard watch, or take --partial."
            )
        bring = brought if end_of(batch) is not None else _so_far
        written = bring(api, batch, output, errors, progress)
        if as_json and output != "-":
            remote.show_json({"batch": batch, "output": _fact(output, written[0]), "errors": _fact(errors, written[1])})


def _fact(path: str | None, size: int | None) -> dict[str, object] | None:
    return None if path is None or size is None else {"path": path, "bytes": size}


def brought(
    api: "Api", batch: remote.Object, output: str | None, errors: str | None, style: flags.Progress
) -> tuple[int | None, int | None]:
    """Download a batch's result files; how many bytes each has, None for one that was not asked for.

    A file that the batch does not have becomes an empty one, so that whoever reads it finds what is so.
    """
    sizes = list[int | None]()
    for name, target in (("output_file_id", output), ("error_file_id", errors)):
        id = batch.get(name)
        if target is None:
            sizes.append(None)
            if id and name == "error_file_id":
                remote.say("Some lines did not succeed: --errors FILE brings them too.")
        elif id:
            from batchyard.cli.transfer import fetched

            sizes.append(fetched(api, id, target, style))
        else:
            sizes.append(_empty(target))
    return sizes[0], sizes[1]


def _empty(target: str) -> int:
    if target != "-":
        Path(target).write_bytes(b"")
    return 0


def _so_far(
    api: "Api", batch: remote.Object, output: str, errors: str | None, style: flags.Progress
) -> tuple[int | None, int | None]:
    """What a batch that runs has answered until now."""
    given = (("output", output), ("errors", errors))
    sizes = [None if target is None else _partial(api, batch["id"], kind, target) for kind, target in given]
    return sizes[0], sizes[1]


def _partial(api: "Api", id: str, kind: str, target: str) -> int:
    """Ask for lines after lines until there are no more for now; the file appears when all are there."""
    import sys

    size, mark, more = 0, "", True
    path = Path("/dev/stdout" if target == "-" else f"{target}.partial")
    with open(path, "wb") if target != "-" else sys.stdout.buffer as file:
        while more:
            content, mark, more = _next_lines(api, id, kind, mark)
            file.write(content)
            size += len(content)
    if target != "-":
        path.replace(target)
    return size


def _next_lines(api: "Api", id: str, kind: str, after: str) -> tuple[bytes, str, bool]:
    """Lines after a watermark, the next watermark, and whether asking at once brings more."""
    from urllib.parse import urlencode

    from batchyard.transport.api import Again, ApiError, path_of

    query = urlencode({"kind": kind, "limit": LINES_AT_ONCE, **({"after": after} if after else {})})
    failures = 0
    while True:
        try:
            with api.opened("GET", f"{path_of('batches', id, 'results')}?{query}") as response:
                more = response.headers.get("x-batchyard-more") == "true"
                return response.read(), response.headers.get("x-batchyard-watermark", ""), more
        except Again as again:
            failures += 1
            if failures >= api.tries:
                raise again.error from None
            api.wait(failures, again.after_seconds)
        except ApiError as error:
            if error.status in (404, 405):
                raise remote.failed(f"{error} Only Batchyard's servers give partial results.") from None
            raise
