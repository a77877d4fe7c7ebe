"""The reference of the command line, written from the commands themselves: python -m tools.cli_reference FILE"""

import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import typer

from batchyard.cli import compat_flags
from batchyard.cli.main import app

HEAD = """# The command line

Written by `make docs` from the commands themselves; a test fails where it is not up to date. See also
[exit codes](exit-codes.md) and [environment variables](environment.md).
"""

FOREIGN = """## Flags of other runners

`run-batch` takes every flag of `vllm run-batch` and `fastdeploy run-batch`. Underscores and dashes are equal in names,
`--name=value` and `--name value` too, `--max-model-len` may be written `32K` (times 1024) or `25.6k` (thousands), and
flags with a JSON object may be given in parts (`--default-chat-template-kwargs.enable_thinking false`).

Some are our own flags under another name:

| flag | is |
|---|---|
{aliases}

The flags of engines (`--tensor-parallel-size`, `--dtype`, ...) go to the engine's program where it is one (`vllm`,
`sglang`, `fastdeploy`, `llama-server`). With any other engine they mean nothing, and one line on standard error names
them: `Ignored with the engine embedded: --tensor-parallel-size`. These are never handed on:

| flag | what happens |
|---|---|
{uses}
"""

WHAT_HAPPENS = {
    compat_flags.Use.NOTHING: "nothing: it has no effect in the other runner either",
    compat_flags.Use.IGNORED: "ignored, and named on standard error",
}


def reference() -> str:
    """The whole page."""
    commands = _commands()
    parts = [HEAD]
    twins = _twins(commands)
    for name, command in commands.items():
        parts.append(_command(name, command, twins.get(name)))
    parts.append(FOREIGN.format(aliases=_aliases(), uses=_uses()))
    return "\n".join(parts)


def _commands() -> dict[str, Any]:
    """Every command by its words, those of groups too: `keys list`."""
    found: dict[str, Any] = {}
    for name, command in cast("Any", typer.main.get_command(app)).commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {each}": inner[each] for each in inner}
    return found


def _variables(param: Any) -> tuple[str, ...]:
    """The variables that stand for a flag, the first that is set goes."""
    return (param.envvar,) if isinstance(param.envvar, str) else tuple(param.envvar or ())


def _twins(commands: Mapping[str, Any]) -> dict[str, str]:
    """Commands that are another one under a second name."""
    first: dict[object, str] = {}
    twins: dict[str, str] = {}
    for name, command in commands.items():
        told = command.help
        if told in first:
            twins[name] = first[told]
        else:
            first[told] = name
    return twins


def _command(name: str, command: Any, twin: str | None) -> str:
    if twin is not None:
        return f"## batchyard {name}\n\nThe same as [`batchyard {twin}`](#batchyard-{twin}).\n"
    lines = [f"## batchyard {name}", "", *_paragraphs(command.help), ""]
    for panel, params in _panels(command).items():
        lines += [f"### {panel} ({name})", "", "| flag | what it does | default | variable |", "|---|---|---|---|"]
        lines += [_row(param) for param in params]
        lines.append("")
    return "\n".join(lines)


def _paragraphs(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _panels(command: Any) -> dict[str, list[Any]]:
    panels: dict[str, list[Any]] = {}
    for param in command.params:
        panels.setdefault(getattr(param, "rich_help_panel", None) or "Other", []).append(param)
    return panels


def _row(param: Any) -> str:
    names = ", ".join(f"`{name}`" for name in sorted((*param.opts, *param.secondary_opts), key=_dashes))
    if param.param_type_name == "argument":
        names = f"`{param.name}`" + (" (required)" if param.required else "")
    elif not param.is_flag:
        names += f" {_value(param)}" + (" (required)" if param.required else "")
    variable = ", ".join(f"`{name}`" for name in _variables(param))
    return f"| {names} | {_cell(param.help or '')} | {_default(param)} | {variable} |"


def _dashes(name: str) -> tuple[bool, bool]:
    return name.startswith("--"), name.startswith("--no-")


def _value(param: Any) -> str:
    choices = "|".join(type(param.default)) if isinstance(param.default, StrEnum) else "VALUE"
    return _cell(param.metavar or choices)


def _default(param: Any) -> str:
    default = param.default
    if default is None or param.required or default in ((), []):
        return ""
    if isinstance(default, bool):
        return ("on" if default else "off") if param.secondary_opts else ""
    return f"`{getattr(default, 'value', default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _aliases() -> str:
    return "\n".join(f"| `{alias}` | `{name}` |" for alias, name in compat_flags.ALIASES.items())


def _uses() -> str:
    return "\n".join(f"| `{name}` | {WHAT_HAPPENS[use]} |" for name, use in compat_flags.USES.items())


def names() -> Iterator[str]:
    """Every flag that some command knows."""
    group = cast("Any", typer.main.get_command(app))
    for command in (group, *_commands().values()):
        for param in command.params:
            if param.param_type_name == "option":
                yield from (*param.opts, *param.secondary_opts)


def variables() -> Iterator[str]:
    """Every environment variable that stands for a flag."""
    for command in _commands().values():
        for param in command.params:
            yield from _variables(param)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
