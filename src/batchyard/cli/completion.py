"""`batchyard completion`: the script that teaches a shell our commands and flags."""

import os
from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell | None, typer.Argument(help="Default: the one in $SHELL.")] = None,
) -> None:
    """Print the completion script of a shell: eval "$(batchyard completion bash)"."""
    from typer._completion_shared import get_completion_script

    named = os.environ.get("SHELL", "").rpartition("/")[2]
    chosen = shell or (Shell(named) if named in list(Shell) else Shell.BASH)
    typer.echo(get_completion_script(prog_name="batchyard", complete_var="_BATCHYARD_COMPLETE", shell=chosen))
