"""`batchyard config check`: everything that is wrong with a configuration, at once."""

from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli import flags
from batchyard.cli.options import PanelledCommand

if TYPE_CHECKING:
    from batchyard.wiring.settings import Fault, Settings

DEFAULT = "batchyard.toml"

File = Annotated[str, typer.Argument(help="The configuration to look at.", metavar="FILE", envvar="BATCHYARD_CONFIG")]

config = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at batchyard.toml.")


@config.command("check", cls=PanelledCommand, short_help="Every mistake in a configuration.")
def check(file: File = DEFAULT, as_json: flags.AsJson = False) -> None:
    """Tell every mistake in a configuration: the key, the line, what stands there, what may, and how to mend it.

    Environment variables count, as they do for batchyard serve. Nothing is started. Warnings are about this machine:
    what they miss may be there where the server runs.

    Exit codes: 0 a server can be made of it, 1 something is wrong.
    """
    import os

    from batchyard.domain.errors import BatchyardError
    from batchyard.wiring.settings import settings

    try:
        found = settings(file, os.environ)
    except BatchyardError as error:
        typer.echo(f"batchyard: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(document(found, file))
    else:
        tell(found, file, err=False)
    raise typer.Exit(1 if found.mistakes else 0)


def document(found: "Settings", file: str) -> str:
    """`{"file": name, "right": bool, "faults": [{key, line, found, allowed, remedy, warning, variable}, ...]}`."""
    import msgspec

    whole = {"file": file, "right": not found.mistakes, "faults": found.faults}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()


def tell(found: "Settings", file: str | None, *, err: bool) -> None:
    """Every fault, and how many there are."""
    for fault in found.faults:
        typer.echo(told(fault, file or ""), err=err)
    warnings = len(found.faults) - found.mistakes
    typer.echo(_summary(found, file or "the environment", warnings), err=err)


def told(fault: "Fault", file: str) -> str:
    """One fault in a few lines, the first of which editors can follow."""
    where = fault.variable or (f"{file}:{fault.line}" if fault.line else file)
    kind = "warning: " if fault.warning else ""
    lines = [
        f"{where}: {kind}{fault.key}" if fault.key and fault.key != fault.variable else f"{where}: {kind}".rstrip(": ")
    ]
    lines.append(f"    found    {fault.found}")
    if fault.allowed:
        lines.append(f"    allowed  {fault.allowed}")
    if fault.remedy:
        lines.append(f"    remedy   {fault.remedy}")
    return "\n".join(lines)


def _summary(found: "Settings", file: str, warnings: int) -> str:
    beside = f" and {_count(warnings, 'warning')}" if warnings else ""
    if found.mistakes:
        return f"{_count(found.mistakes, 'mistake')}{beside} in {file}."
    options = found.options
    holds = f"{_count(len(options.models), 'model')}, {_count(len(options.projects), 'project')}"
    return f"{file} is right: {holds}{beside}."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
