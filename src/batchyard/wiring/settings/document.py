"""A TOML text with the line of each key, and with everything in it that is not TOML.

`tomllib` tells no lines, and stops at the first thing that it cannot read. Here a statement that it cannot read is told
of and left out, and the rest is read again: whoever mends a file wants to hear of all mistakes at once.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

Path = tuple[str, ...]
"""A key with the tables that it stands in: `("models", "demo", "slots")`."""

_token = re.compile(
    r"""
      \"{3} (?: \\. | (?!\"{3}). )* (?: \"{3,5} | \Z )
    | '{3} (?: (?!'{3}). )* (?: '{3,5} | \Z )
    | " (?: \\[^\n] | [^\\"\n] )* "?
    | ' [^'\n]* '?
    | \#[^\n]*
    | \n
    | [\[\]{}=,.]
    | [^\s\[\]{}=,.#"']+
    """,
    re.VERBOSE | re.DOTALL,
)
_begins = re.compile(
    r"""
    \s* (?: \[ [^,]* \] \s* (?: \#.* )? $
         | (?: [\w.-]+ | "[^"]*" | '[^']*' ) (?: \s*\.\s* (?: [\w.-]+ | "[^"]*" ) )* \s* = )
    """,
    re.VERBOSE,
).match
"""Whether a line looks like the beginning of a statement."""
_where = re.compile(r"^(.*?) \(at (?:line (\d+), column \d+|end of document)\)$")
_LEFT_OUT = "left out, line "
_PLAIN = {
    "Cannot overwrite a value": "this key is there twice",
    "Cannot declare": "this table is there twice",
    "Unclosed array": "a bracket is never closed",
    "Invalid value": "the value is none that TOML knows: text needs quotes",
    "Expected newline or end of document after a statement": "there is more on the line than one key and its value",
    "Expected '=' after a key in a key/value pair": "a key needs = and a value",
}
"""What tomllib says, for people who have never written a parser."""

MOST_BROKEN = 100
"""How many statements are told of; a text with more is hardly TOML."""


class Broken(Struct, frozen=True):
    """A statement that cannot be read: on which line, why, and what stands there; no value, which may be secret."""

    line: int
    reason: str
    text: str


class Document(Struct, frozen=True):
    """What could be read. `lines` has the line of every key and every table, counted from 1."""

    values: dict[str, Any]
    lines: Mapping[Path, int]
    broken: tuple[Broken, ...] = ()

    def line(self, path: Path) -> int | None:
        """The line of a key; where it stands nowhere, that of the table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


class _Token(Struct, frozen=True):
    text: str
    line: int


def read_document(text: str) -> Document:
    """Read all that can be read."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    broken: list[Broken] = []
    while True:
        whole = "\n".join(lines)
        try:
            values = tomllib.loads(whole)
        except (ValueError, RecursionError) as error:  # beside TOML's own: numbers and brackets without end
            if len(broken) == MOST_BROKEN:
                return Document({}, {}, (*broken, Broken(len(lines), "the rest was not read", "")))
            broken.append(_leave_out(lines, str(error)))
        else:
            read = {key: value for key, value in values.items() if not key.startswith(_LEFT_OUT)}
            return Document(read, _places(whole), tuple(sorted(broken, key=lambda each: each.line)))


def _leave_out(lines: list[str], error: str) -> Broken:
    """Blank the statement that was not understood; what stood there.

    What follows a table's name that cannot be read belongs to no table that we know.
    """
    found = _where.match(error)
    reason, at = (found[1], int(found[2] or len(lines))) if found else (error, len(lines))
    start, end = _statement_at(at, lines)
    line = at if at <= end and not _begins(lines[at - 1]) else start
    broken = Broken(line, _PLAIN.get(reason.partition(" (")[0], reason), lines[line - 1].partition("=")[0].strip())
    was_name = lines[start - 1].lstrip().startswith("[")
    lines[start - 1 : end] = [""] * (end - start + 1)
    if was_name:
        lines[start - 1] = f'["{_LEFT_OUT}{start}"]'
    return broken


def _statement_at(line: int, lines: Sequence[str]) -> tuple[int, int]:
    """The first and the last line of the statement that a line belongs to.

    A bracket or a string that is never closed would swallow everything behind it: such a statement ends where another
    seems to begin.
    """
    starts = [tokens[0].line for tokens in _statements("\n".join(lines))]
    start = max((each for each in starts if each <= line), default=line)
    end = next((each for each in starts if each > start), len(lines) + 1) - 1
    for later in range(start + 1, end + 1):
        if _begins(lines[later - 1]):
            return start, later - 1
    return start, end


# Where keys stand


def _places(text: str) -> Mapping[Path, int]:
    """The lines of all keys and tables of a text that is TOML; of a table in several places the first."""
    places: dict[Path, int] = {}
    for path, line in _found(text):
        places.setdefault(path, line)
    return places


def _found(text: str) -> Iterator[tuple[Path, int]]:
    table: Path = ()
    for tokens in _statements(text):
        if tokens[0].text == "[":
            names = [token for token in tokens if token.text not in "[]"]
            table = _path(names)
            yield from ((table[:depth], tokens[0].line) for depth in range(1, len(table) + 1))
        else:
            yield from _Keys(tokens).found(table)


def _statements(text: str) -> Iterator[list[_Token]]:
    """The tokens of each statement, without comments and ends of lines."""
    tokens: list[_Token] = []
    depth, line = 0, 1
    for found in _token.finditer(text):
        word = found[0]
        if word in "[{":
            depth += 1
        elif word in "]}":
            depth -= 1
        if word == "\n" and depth <= 0:
            if tokens:
                yield tokens
            tokens, depth = [], 0
        elif word != "\n" and not word.startswith("#"):
            tokens.append(_Token(word, line))
        line += word.count("\n")
    if tokens:
        yield tokens


class _Keys:
    """Walks the tokens of one `key = value`, into inline tables too."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def found(self, table: Path) -> Iterator[tuple[Path, int]]:
        start = self._at
        while self._word() != "=":
            self._at += 1
        names = self._tokens[start : self._at]
        self._at += 1
        path = _path(names)
        yield from ((table + path[:depth], names[0].line) for depth in range(1, len(path) + 1))
        yield from self._value(table + path)

    def _value(self, path: Path) -> Iterator[tuple[Path, int]]:
        if self._word() == "{":
            self._at += 1
            while self._word() not in ("}", ""):
                yield from self.found(path)
                self._skip(",")
            self._at += 1
        elif self._word() == "[":
            self._at += 1
            element = 0
            while self._word() not in ("]", ""):
                yield (*path, str(element)), self._tokens[self._at].line
                yield from self._value((*path, str(element)))
                self._skip(",")
                element += 1
            self._at += 1
        else:
            while self._word() not in (",", "]", "}", ""):
                self._at += 1

    def _skip(self, word: str) -> None:
        if self._word() == word:
            self._at += 1

    def _word(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""


def _path(names: Sequence[_Token]) -> Path:
    """The names of a dotted key, quoted or not."""
    return tuple(_bare(token.text) for token in names if token.text != ".")


def _bare(name: str) -> str:
    return str(tomllib.loads(f"x = {name}")["x"]) if name[0] in "\"'" else name
