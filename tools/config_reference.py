"""The reference of batchyard.toml, written from the keys themselves: python -m tools.config_reference FILE"""

import sys
from collections.abc import Iterator
from pathlib import Path

from batchyard.wiring.settings.keys import TABLES, Key, Table

HEAD = """# The configuration

Written by `make docs` from the keys themselves; a test fails where it is not up to date. How to go about it is told in
[Configure a server](../how-to/configure.md); a whole file is [examples/batchyard.toml](../../examples/batchyard.toml).

`batchyard serve --config FILE` reads it, and `batchyard config check FILE` tells every mistake in it. No file is read
that was not named, by the flag or by `BATCHYARD_CONFIG`. Paths are meant from the folder that the file lies in.

What is nearest to you wins: the file; then a variable `BATCHYARD_TABLE__KEY`, such as `BATCHYARD_SERVER__PORT` or
`BATCHYARD_MODELS__DEMO__SLOTS`; then a flag, or the variable that stands for that flag
([environment variables](environment.md)). Lists are separated by commas in a variable.

Lengths of time are seconds, or a text with a unit: `"90s"`, `"15m"`, `"1h"`, `"30d"`. Sizes are bytes, or a text:
`"10 GB"` (thousands), `"64 MiB"` (1024).
"""


def reference() -> str:
    """The whole page."""
    return "\n".join((HEAD, *(line for table in TABLES for line in _table(table, ()))))


def _table(table: Table, before: tuple[str, ...]) -> Iterator[str]:
    name = ".".join((*before, table.name, *(("NAME",) if table.named else ())))
    yield f"## [{name}]\n"
    yield table.about + (f" NAME is {table.named}." if table.named else "") + "\n"
    keys = (table.entries,) if table.entries is not None else table.keys
    yield "| key | what it is | may be | default |\n|---|---|---|---|"
    yield from (_row(key) for key in keys)
    yield ""
    for below in table.tables:
        yield from _table(below, tuple(name.split(".")))


def _row(key: Key) -> str:
    default = f"`{key.default}`" if key.default and " " not in key.default.strip('"') else key.default
    cells = (f"`{key.name}`", key.about, key.kind.allowed, default)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
