"""Reading a configuration: every value that stands in the file or in a variable, and everything that is wrong.

A file comes first, then variables: `BATCHYARD_` and the key with its tables, in capitals, with two underscores for each
dot (`BATCHYARD_SERVER__PORT`, `BATCHYARD_MODELS__DEMO__SLOTS`). Flags come last, and are not our business here.
"""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, cast

from msgspec import Struct, field

from batchyard.domain.errors import Invalid
from batchyard.wiring.settings.document import Document, Path, read_document
from batchyard.wiring.settings.keys import ROOT, Key, Table
from batchyard.wiring.settings.kinds import Wrong, kind_of, meant, nearest

PREFIX = "BATCHYARD_"
DOT = "__"
SECRETS = ("api_key", "key", "token", "secret", "password", "apikey", "bearer")
KEEP_KEYS_OUT = (
    "Keys do not belong in this file: export the key in an environment variable, and write the variable's name: "
    'api_key_env = "NAME".'
)
_not_word = re.compile(r"[^A-Z0-9]")
_plain_key = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class Fault(Struct, frozen=True, kw_only=True):
    """Something that is wrong, or (`warning`) that may be. `line` is 0 where it is no line's; `key` is dotted.

    `variable` is the environment variable that says so, where it is not the file.
    """

    key: str
    found: str
    line: int = 0
    allowed: str = ""
    remedy: str = ""
    warning: bool = False
    variable: str = ""


class Read(Struct, frozen=True):
    """What was read. `values` has the kinds' values, in tables as in the file; `faults` are in the file's order.

    `origin` tells the line and the variable of a key.
    """

    values: dict[str, Any]
    document: Document
    variables: Mapping[Path, str]
    faults: list[Fault] = field(default_factory=list[Fault])

    def fault(self, path: Path, found: str, *, allowed: str = "", remedy: str = "", warning: bool = False) -> Fault:
        """A fault of a key, where that stands."""
        return Fault(
            key=dotted(path),
            found=found,
            line=0 if path in self.variables else self.document.line(path) or 0,
            allowed=allowed,
            remedy=remedy,
            warning=warning,
            variable=self.variables.get(path, ""),
        )


def load(path: str | None) -> str:
    """The text of a file; nothing for no file. Raises Invalid where it cannot be read."""
    if path is None:
        return ""
    try:
        return FilePath(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise Invalid(
            f"The configuration {path} cannot be read: {error.strerror}.",
            remedy="Name a file that is there: --config FILE.",
        ) from error
    except UnicodeDecodeError as error:
        raise Invalid(
            f"The configuration {path} is not UTF-8: byte {error.start}.", remedy="Save the file as UTF-8."
        ) from error


def read(text: str, environment: Mapping[str, str]) -> Read:
    """All values, and all that is wrong with them one by one. What belongs together is checked in `check`."""
    document = read_document(text)
    found = Read({}, document, {})
    for broken in document.broken:
        found.faults.append(
            Fault(key=broken.text, found=broken.reason, line=broken.line, allowed="TOML", remedy="See https://toml.io.")
        )
    raw, variables = _with_variables(document.values, environment, found.faults)
    found = Read({}, document, variables, found.faults)
    found.values.update(_table(raw, ROOT, (), found))
    found.faults.sort(key=lambda fault: fault.line)
    return found


def dotted(path: Path) -> str:
    """A key as it is written in TOML."""
    return ".".join(name if _plain_key(name) else f'"{name}"' for name in path)


# The file


def _table(raw: Mapping[str, Any], table: Table, path: Path, read: Read) -> dict[str, Any]:
    """The values of a table; what is wrong is told, and left out."""
    values: dict[str, Any] = {}
    for name, value in raw.items():
        inside = (*path, name)
        if table.entries is not None:
            _take(values, table.entries, name, value, inside, read)
        elif (key := table.key(name)) is not None:
            _take(values, key, key.target, value, inside, read)
        elif (below := table.table(name)) is not None:
            _below(values, below, value, inside, read)
        else:
            read.faults.append(_unknown(name, table, inside, read))
    return values


def _below(values: dict[str, Any], table: Table, raw: Any, path: Path, read: Read) -> None:
    if not isinstance(raw, dict):
        what = kind_of(cast("object", raw))
        remedy = f"Write [{dotted(path)}{'.NAME' if table.named else ''}] on a line of its own, then its keys."
        read.faults.append(read.fault(path, what, allowed="a table", remedy=remedy))
        return
    inside = cast("dict[str, Any]", raw)
    if not table.named:
        values[table.name] = _table(inside, table, path, read)
        return
    named: dict[str, Any] = {}
    values[table.name] = named
    form = Table(name=table.name, about=table.about, keys=table.keys, tables=table.tables)
    for name, value in cast("dict[str, object]", inside).items():
        if isinstance(value, dict) and name.strip():
            named[name] = _table(cast("dict[str, Any]", value), form, (*path, name), read)
        else:
            read.faults.append(_no_table(name, cast("object", value), form, (*path, name), read))


def _no_table(name: str, raw: object, table: Table, path: Path, read: Read) -> Fault:
    """A key where there should be a table with a name of the user's own."""
    below = dotted(path[:-1])
    if not name.strip():
        return read.fault(path, "an empty name", remedy=f"Write [{below}.NAME].")
    if name in table.names:
        found, remedy = f"{name} of no {table.name[:-1]}", f"Write it below [{below}.NAME]."
        return read.fault(path, found, remedy=remedy)
    remedy = f"Write [{dotted(path)}] on a line of its own, then its keys."
    return read.fault(path, kind_of(raw), allowed="a table", remedy=remedy)


def _take(values: dict[str, Any], key: Key, name: str, raw: object, path: Path, read: Read) -> None:
    try:
        values[name] = key.kind.read(raw)
    except Wrong as wrong:
        allowed = wrong.allowed or key.kind.allowed
        read.faults.append(read.fault(path, wrong.found, allowed=allowed, remedy=wrong.remedy))


def _unknown(name: str, table: Table, path: Path, read: Read) -> Fault:
    """A key that nobody knows; what it holds is not shown."""
    what = f"[{dotted(path[:-1])}]" if table.name else "the file"
    remedy = KEEP_KEYS_OUT if name.lower() in SECRETS else meant(name, table.names) or _elsewhere(name, table)
    allowed = ", ".join(table.names if table.name else (f"[{each}]" for each in table.names))
    return read.fault(path, f"a key that {what} does not know", allowed=allowed, remedy=remedy)


def _elsewhere(name: str, table: Table) -> str:
    """Where a key belongs that is right in another table."""
    tables = [each for each in ROOT.tables if each is not table and name in each.names]
    return f"It belongs below [{tables[0].name}{'.NAME' if tables[0].named else ''}]." if tables else ""


# Variables


def _with_variables(
    values: dict[str, Any], environment: Mapping[str, str], faults: list[Fault]
) -> tuple[dict[str, Any], dict[Path, str]]:
    """The file's values with those of variables over them, and which variable each of these came from."""
    origins: dict[Path, str] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or DOT not in variable:
            continue
        found = _meant_by(variable.removeprefix(PREFIX).split(DOT), ROOT, values)
        if isinstance(found, str):
            faults.append(Fault(key=variable, found=found, variable=variable, remedy="Unset it, or mend its name."))
            continue
        path, key = found
        origins[path] = variable
        values = _with(values, path, key.kind.from_text(text))
    return values, origins


def _meant_by(words: list[str], table: Table, values: object) -> tuple[Path, Key] | str:
    """The key that a variable's words name, with the names as they are written in the file; or why it is none."""
    word, *rest = words
    inside = cast("dict[str, Any]", values) if isinstance(values, dict) else {}
    if table.named:
        own = [name for name in inside if _capitals(name) == word]
        if len(own) != 1 or not rest:
            return f"{word}, which is no name below [{table.name}] in the file"
        form = Table(name=table.name, about="", keys=table.keys, tables=table.tables)
        return _under(own[0], _meant_by(rest, form, inside[own[0]]))
    if table.entries is not None:
        names = [name for name in inside if _capitals(name) == word] or [word.lower()]
        return ((names[0],), table.entries) if not rest else f"{DOT.join(words)}, which is no key"
    name = next((name for name in table.names if name.upper() == word), None)
    if name is not None and not rest and (key := table.key(name)) is not None:
        return (name,), key
    below = table.table(name) if name is not None else None
    if below is None or not rest:
        near = nearest(word, table.names)
        return f"{DOT.join(words)}, which is no key" + (f"; did you mean {near.upper()}?" if near else "")
    return _under(below.name, _meant_by(rest, below, inside.get(below.name)))


def _under(name: str, found: tuple[Path, Key] | str) -> tuple[Path, Key] | str:
    return found if isinstance(found, str) else ((name, *found[0]), found[1])


def _capitals(name: str) -> str:
    return _not_word.sub("_", name.upper())


def _with(values: dict[str, Any], path: Path, value: object) -> dict[str, Any]:
    """The same values with another one at a path."""
    name, *rest = path
    if not rest:
        return {**values, name: value}
    below = values.get(name)
    return {**values, name: _with(cast("dict[str, Any]", below) if isinstance(below, dict) else {}, tuple(rest), value)}
