"""The command `batchyard`. Nothing heavy is imported before a command that needs it runs.

Help is plain text, without rich: it costs half the time, cuts off no name, and can be searched.
"""

from typing import Annotated

import typer
from typer._completion_classes import completion_init

from batchyard import __version__
from batchyard.cli.backup import backup, restore
from batchyard.cli.batches import batches
from batchyard.cli.cancel import cancel
from batchyard.cli.completion import completion
from batchyard.cli.config import config
from batchyard.cli.doctor import doctor
from batchyard.cli.exits import EPILOGUE
from batchyard.cli.files import files
from batchyard.cli.keys import keys
from batchyard.cli.options import LenientCommand, PanelledCommand
from batchyard.cli.projects import projects
from batchyard.cli.results import results
from batchyard.cli.retry import retry
from batchyard.cli.run_batch import run_batch
from batchyard.cli.serve import serve
from batchyard.cli.submit import submit
from batchyard.cli.validate import validate
from batchyard.cli.watch import watch

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="batchyard",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"batchyard {__version__}")
        raise typer.Exit


@app.callback()
def batchyard(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Batch inference that loses nothing: files of model requests in, files of answers out."""


completion_init()

_RUN = "A file of requests in, a file of results out."
app.command("run-batch", cls=LenientCommand, epilog=EPILOGUE, short_help=_RUN)(run_batch)
app.command("run", cls=LenientCommand, epilog=EPILOGUE, short_help="The same as run-batch.")(run_batch)
app.command("validate", cls=PanelledCommand, short_help="The checks of a run, without the run.")(validate)
app.command("serve", cls=PanelledCommand, short_help="Files, batches and models over HTTP.")(serve)
app.command("submit", cls=PanelledCommand, short_help="A file to a server, as a batch.")(submit)
app.command("batches", cls=PanelledCommand, short_help="The batches of a server, or one of them.")(batches)
app.command("watch", cls=PanelledCommand, short_help="Follow a batch until it has ended.")(watch)
app.command("results", cls=PanelledCommand, short_help="Download the answers of a batch.")(results)
app.command("retry", cls=PanelledCommand, short_help="Ask again what a batch did not answer.")(retry)
app.command("cancel", cls=PanelledCommand, short_help="Ask batches to end with what they have.")(cancel)
app.command("files", cls=PanelledCommand, short_help="The files of a server: list, download, delete.")(files)
app.add_typer(keys, name="keys")
app.add_typer(projects, name="projects")
app.add_typer(config, name="config", context_settings=CONTEXT)
app.command("backup", cls=PanelledCommand, short_help="Save a server's data while it runs.")(backup)
app.command("restore", cls=PanelledCommand, short_help="Bring saved data back.")(restore)
app.command("doctor", cls=PanelledCommand, short_help="What this machine has and what is wrong.")(doctor)
app.command("completion", cls=PanelledCommand, short_help="Teach your shell our commands.")(completion)


def main() -> None:
    """The entry point of the package."""
    app(prog_name="batchyard")
