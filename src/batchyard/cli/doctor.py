"""`batchyard doctor`: what this machine has, what is wrong, and how to mend it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from batchyard import __version__
from batchyard.cli import flags

if TYPE_CHECKING:
    from batchyard.cli.finding import Finding


def doctor(
    folder: Annotated[
        str, typer.Option("--folder", help="Where outputs will go: its disk is looked at.", metavar="FOLDER")
    ] = ".",
    as_json: flags.AsJson = False,
) -> None:
    """Look at engines, models, accelerators, cores, memory, disk and limits; say what is wrong and how to mend it.

    Exit codes: 0 a run can work, 1 something is wrong.
    """
    from batchyard.cli.finding import Level

    findings = examine(folder)
    if as_json:
        typer.echo(document(findings))
    else:
        _print(findings)
    raise typer.Exit(1 if any(finding.level is Level.WRONG for finding in findings) else 0)


def examine(folder: str) -> "list[Finding]":
    """Everything, in the order in which it is shown."""
    import os

    from batchyard.cli.finding import Level
    from batchyard.cli.installed import look_at_engines, look_at_models, look_at_upstream
    from batchyard.cli.machine import look_at_machine

    machine = list(look_at_machine(folder))
    accelerator = any(each.subject == "accelerator" and each.level is Level.OK for each in machine)
    engines = list(look_at_engines(accelerator=accelerator))
    return [*machine, *engines, *look_at_models(os.environ), *look_at_upstream(os.environ)]


def document(findings: "Sequence[Finding]") -> str:
    """`{"batchyard": version, "healthy": bool, "findings": [{subject, level, text, remedy, facts}, ...]}`."""
    import msgspec

    from batchyard.cli.finding import Level

    healthy = all(finding.level is not Level.WRONG for finding in findings)
    whole = {"batchyard": __version__, "healthy": healthy, "findings": findings}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()


def _print(findings: "Sequence[Finding]") -> None:
    from rich.console import Console
    from rich.text import Text

    styles = {"ok": "green", "note": "dim", "warning": "yellow", "wrong": "bold red"}
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(
            Text(f"{finding.level:<9}", styles[finding.level]) + Text(f"{finding.subject:<20} {finding.text}")
        )
        if finding.remedy:
            console.print(Text(f"{'':<30}{finding.remedy}", "italic"))
