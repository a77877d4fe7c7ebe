"""What a key may hold. Each kind says in words what it allows, and makes a value of what TOML or a variable brings."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from batchyard.domain.price import nanos_of

_seconds = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)").fullmatch
_bytes = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B", re.IGNORECASE).fullmatch
_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
SIZES = {letter: 1000**power for power, letter in enumerate(("", "k", "m", "g", "t"))} | {
    f"{letter}i": 1024**power for power, letter in enumerate(("k", "m", "g", "t"), 1)
}
NEVER = "never"
MOST_SHOWN = 60
LONG_WORD = 24


class Wrong(Exception):
    """What was found is not allowed. Neither `found` nor `remedy` ever holds a secret."""

    def __init__(self, found: str, *, allowed: str | None = None, remedy: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.allowed = allowed
        self.remedy = remedy


class Kind(Protocol):
    """One kind of value."""

    @property
    def allowed(self) -> str:
        """What may stand there, in a few words."""
        ...

    def read(self, raw: object) -> Any:
        """The value of what TOML brought. Raises Wrong."""
        ...

    def from_text(self, text: str) -> object:
        """What TOML would have brought for the text of an environment variable."""
        ...


class Text(Struct, frozen=True):
    """A text that is not empty."""

    allowed: str = "a text"

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise Wrong(shown(raw), remedy="Put it in quotes.")
        if not raw.strip():
            raise Wrong("an empty text", remedy="Fill it in, or leave the key out.")
        return raw

    def from_text(self, text: str) -> object:
        return text


class Word(Struct, frozen=True):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.words)

    def read(self, raw: object) -> str:
        if raw not in self.words:
            raise Wrong(shown(raw), remedy=meant(raw, self.words) if isinstance(raw, str) else "Put it in quotes.")
        return cast("str", raw)

    def from_text(self, text: str) -> object:
        return text


class Switch(Struct, frozen=True):
    """Yes or no."""

    allowed: str = "true or false"

    def read(self, raw: object) -> bool:
        if not isinstance(raw, bool):
            raise Wrong(shown(raw), remedy="Write true or false, without quotes.")
        return raw

    def from_text(self, text: str) -> object:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)


class Whole(Struct, frozen=True):
    """A whole number within bounds, both included."""

    low: int = 0
    high: int | None = None

    @property
    def allowed(self) -> str:
        return "a whole number, " + _bounds(self.low, self.high)

    def read(self, raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise Wrong(shown(raw), remedy=_without_quotes(raw))
        _within(raw, self.low, self.high)
        return raw

    def from_text(self, text: str) -> object:
        return _number(text)


class Number(Struct, frozen=True):
    """A number within bounds, both included."""

    low: float = 0.0
    high: float | None = None

    @property
    def allowed(self) -> str:
        return "a number, " + _bounds(self.low, self.high)

    def read(self, raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not isfinite(raw):
            raise Wrong(shown(raw), remedy=_without_quotes(raw))
        _within(raw, self.low, self.high)
        return float(raw)

    def from_text(self, text: str) -> object:
        return _number(text)


class Nanos(Struct, frozen=True):
    """A part of one, or an amount of money, in billionths: counted by the digits that are written, never rounded."""

    high: float | None = None

    @property
    def allowed(self) -> str:
        return "a number, " + _bounds(0, self.high)

    def read(self, raw: object) -> int:
        Number(0, self.high).read(raw)
        try:
            return nanos_of(repr(raw))
        except ValueError:
            raise Wrong(shown(raw), allowed="nine places behind the point") from None

    def from_text(self, text: str) -> object:
        return _number(text)


class Seconds(Struct, frozen=True):
    """A length of time."""

    low: float = 0.0
    high: float | None = None

    @property
    def allowed(self) -> str:
        return f'seconds, or a text such as "90s", "15m", "1h" or "30d"; {_bounds(self.low, self.high, _as_time)}'

    def read(self, raw: object) -> float:
        seconds = self._seconds(raw)
        _within(seconds, self.low, self.high, _as_time)
        return int(seconds) if seconds == int(seconds) else seconds

    def from_text(self, text: str) -> object:
        return _number(text)

    def _seconds(self, raw: object) -> float:
        if isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) < 1e12:
            return raw
        found = _seconds(raw.strip()) if isinstance(raw, str) else None
        if found is None:
            raise Wrong(shown(raw), remedy='Write the seconds as a number, or a number with its unit: "15m".')
        return float(found[1]) * UNITS[found[2]]


class SecondsOrNever(Struct, frozen=True):
    """A length of time, or none at all: None."""

    low: float = 0.0
    high: float | None = None

    @property
    def allowed(self) -> str:
        return f'{Seconds(self.low, self.high).allowed}; or "{NEVER}"'

    def read(self, raw: object) -> float | None:
        return None if raw == NEVER else Seconds(self.low, self.high).read(raw)

    def from_text(self, text: str) -> object:
        return _number(text)


class Bytes(Struct, frozen=True):
    """A size."""

    low: int = 0

    @property
    def allowed(self) -> str:
        return f'bytes, or a text such as "10 GB" or "64 MiB"; {_bounds(self.low, None)}'

    def read(self, raw: object) -> int:
        size = self._size(raw)
        _within(size, self.low, None)
        return size

    def from_text(self, text: str) -> object:
        return _number(text)

    def _size(self, raw: object) -> int:
        if isinstance(raw, int) and not isinstance(raw, bool):
            return raw
        found = _bytes(raw.strip()) if isinstance(raw, str) else None
        if found is None:
            raise Wrong(shown(raw), remedy='Write the bytes as a number, or a number with its unit: "10 GB".')
        return int(float(found[1]) * SIZES[(found[2] or "").lower()])


class Url(Struct, frozen=True):
    """The base URL of a server."""

    allowed: str = "an http or https URL"

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise Wrong(shown(raw), remedy='Write it in quotes: "http://localhost:8000/v1".')
        try:
            parts = urlsplit(raw)
            port_works = parts.port != 0
        except ValueError:
            raise Wrong(shown(raw), remedy="Check the address and the port.") from None
        if parts.username or parts.password:
            raise Wrong(
                "a URL with a password in it (not shown)",
                remedy="Take it out; put the key in an environment variable and name that in api_key_env.",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_works:
            raise Wrong(shown(raw), remedy='It begins with http:// or https://: "http://localhost:8000/v1".')
        return raw

    def from_text(self, text: str) -> object:
        return text


class Variable(Struct, frozen=True):
    """The name of an environment variable with a secret in it; a secret itself is refused, and never shown."""

    allowed: str = "the name of an environment variable"

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise Wrong(kind_of(raw), remedy='Write the name in quotes: "UPSTREAM_KEY".')
        if not _names_a_variable(raw):
            raise Wrong(
                "what may be a key itself (not shown)",
                remedy="Keep keys out of this file: export the key in an environment variable, and write the "
                "variable's name here.",
            )
        return raw

    def from_text(self, text: str) -> object:
        return text


def _names_a_variable(text: str) -> bool:
    """Whether a text is the name of a variable beyond doubt: keys are long, or mix letters and digits."""
    if _variable(text) is None or text.startswith("AKIA"):
        return False
    plain = text.isupper() and ("_" in text or len(text) <= LONG_WORD)
    return plain or (len(text) <= LONG_WORD and not any(letter.isdigit() for letter in text))


class ListOf(Struct, frozen=True):
    """Several values of one kind."""

    kind: Kind
    what: str

    @property
    def allowed(self) -> str:
        return f"a list of {self.what}"

    def read(self, raw: object) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise Wrong(shown(raw), remedy="Put it in brackets, even if there is only one.")
        return tuple(self.kind.read(each) for each in cast("list[object]", raw))

    def from_text(self, text: str) -> object:
        return [each.strip() for each in text.split(",") if each.strip()]


class Json(Struct, frozen=True):
    """A table of whatever a chat template wants, kept as a JSON object."""

    allowed: str = "a table"

    def read(self, raw: object) -> str:
        if not isinstance(raw, dict):
            raise Wrong(shown(raw), remedy="Write { name = value }.")
        try:
            return msgspec.json.encode(raw).decode()
        except (TypeError, msgspec.MsgspecError):
            raise Wrong("a value that JSON cannot hold") from None

    def from_text(self, text: str) -> object:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text


class Flags(Struct, frozen=True):
    """Flags of a program, by their names without the dashes. The values are texts; none for a flag without one."""

    allowed: str = "a table of flags: a text, a number, true, false or a list each"

    def read(self, raw: object) -> Mapping[str, tuple[str, ...]]:
        if not isinstance(raw, dict):
            raise Wrong(shown(raw), remedy="Write { tensor-parallel-size = 2, enforce-eager = true }.")
        return dict(_flag(name, value) for name, value in cast("dict[str, object]", raw).items())

    def from_text(self, text: str) -> object:
        return Json().from_text(text)


def _flag(name: str, value: object) -> tuple[str, tuple[str, ...]]:
    if name.startswith("-"):
        raise Wrong(shown(name), remedy="Write the flag without its dashes.")
    match value:
        case True:
            return name, ()
        case False:
            return f"no-{name}", ()
        case str() | int() | float():
            return name, (str(value),)
        case list() if all(isinstance(each, str | int | float) for each in cast("list[object]", value)):
            return name, tuple(str(each) for each in cast("list[object]", value))
        case _:
            raise Wrong(f"{name} = {shown(value)}", remedy="A program takes texts and numbers.")


# Words


def shown(raw: object) -> str:
    """What was found, with its type where the type is what is wrong; long things are cut."""
    match raw:
        case bool():
            return str(raw).lower()
        case int() | float():
            return f"the number {raw}"
        case str():
            return f'the text "{raw}"' if len(raw) <= MOST_SHOWN else f'the text "{raw[:MOST_SHOWN]}..."'
        case _:
            return kind_of(raw)


def kind_of(raw: object) -> str:
    match raw:
        case dict():
            return "a table"
        case list():
            return "a list"
        case str():
            return "a text"
        case bool():
            return str(raw).lower()
        case int() | float():
            return "a number"
        case _:
            return "a date or a time"


def meant(word: str, known: Sequence[str]) -> str:
    """A question where a word is nearly one that is known; else nothing."""
    near = nearest(word, known)
    return f"Did you mean {near}?" if near else ""


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The word that is meant, most probably."""
    from difflib import get_close_matches

    plain = {each.lower().replace("-", "_"): each for each in known}
    found = get_close_matches(word.lower().replace("-", "_"), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def _number(text: str) -> object:
    """A number where the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _without_quotes(raw: object) -> str:
    return "Write it in digits, without quotes." if isinstance(raw, str) else ""


def _plain(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def _as_time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{_plain(seconds)}s" if seconds else "0"


def _bounds(low: float, high: float | None, said: Callable[[float], str] = _plain) -> str:
    return f"{said(low)} or more" if high is None else f"{said(low)} to {said(high)}"


def _within(value: float, low: float, high: float | None, said: Callable[[float], str] = _plain) -> None:
    if value < low or (high is not None and value > high):
        raise Wrong(f"the number {said(value)}", remedy=f"Write {_bounds(low, high, said)}.")
