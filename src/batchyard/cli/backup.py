"""`batchyard backup` and `batchyard restore`: a server's data folder, saved while it runs, and brought back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli.serve import DataDir

if TYPE_CHECKING:
    from batchyard.wiring.backup import About

Target = Annotated[str, typer.Argument(help="Folder to make. It must not exist.", metavar="BACKUP")]
Source = Annotated[str, typer.Argument(help="Folder that `batchyard backup` made.", metavar="BACKUP")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Read every file and compare its hash with the one that was kept.")
]


def backup(target: Target, data_dir: DataDir = "batchyard-data") -> None:
    """Save a data folder while its server runs on.

    Files are linked where the backup lies on the same disk, and copied otherwise. Keys come along as hashes; the
    administrator's key file does not.

    Exit codes: 0 saved, 1 nothing was saved.
    """
    from batchyard.wiring.backup import back_up

    about = _told(lambda told: back_up(data_dir, target, told=told))
    typer.echo(f"{target}: {_shown(about)}", err=True)


def restore(source: Source, data_dir: DataDir = "batchyard-data", verify: Verify = False) -> None:
    """Bring a backup back to a new data folder; `batchyard serve` goes on from there.

    Exit codes: 0 it is there, 1 nothing was changed.
    """
    from batchyard.wiring import backup as saved

    about = _told(lambda told: saved.restore(source, data_dir, verify=verify, told=told))
    typer.echo(f"{data_dir}: {_shown(about)}", err=True)


def _told(work: "Callable[[Callable[[int, int], None]], About]") -> "About":
    """Do it with a counter on a terminal; end with its message where it fails."""
    import sys

    from batchyard.domain.errors import BatchyardError

    def told(number: int, of: int) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r{number} of {of} files", nl=number == of, err=True)

    try:
        return work(told)
    except BatchyardError as error:
        typer.echo(f"batchyard: {error}", err=True)
        raise typer.Exit(1) from error


def _shown(about: "About") -> str:
    return f"{about.blobs} files, {about.bytes:,} bytes ({about.linked} linked), {about.runs} running batches"
