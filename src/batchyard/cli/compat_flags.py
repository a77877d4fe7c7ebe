"""What to do with the flags of other runners: `vllm run-batch`, `fastdeploy run-batch`, and the engines behind them.

A command line is sorted into our own flags, which the command's parser reads, and foreign ones, which it never sees.
`run-batch` takes no positional words, so whatever follows a foreign flag up to the next one is its value: the many
hundred flags of the engines need no table here. Underscores and dashes are equal in names.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from batchyard.cli import json_flags
from batchyard.config import EngineFlag

MANAGED = frozenset({"vllm", "sglang", "fastdeploy", "llama-server"})
"""The engines that are programs with flags of their own."""


HEEDED: Mapping[str, frozenset[str]] = {
    "llamacpp": frozenset({"--max-num-seqs", "--max-model-len", "--chat-template", "--default-chat-template-kwargs"}),
    "openvino": frozenset({"--max-num-seqs", "--max-model-len"}),
    "embedded": frozenset({"--max-num-seqs", "--max-model-len"}),
    "echo": frozenset({"--max-num-seqs"}),
    "http": frozenset(),
}
"""Which of the flags that we share with the engines an engine of our own heeds; a program gets them all."""


class Use(Enum):
    """What a foreign flag is good for here."""

    PROGRAM = "handed to the engine's program, ignored where the engine is none"
    NOTHING = "has no effect in the other runner either: not worth a word"
    IGNORED = "ignored, and the user is told"


ALIASES: Mapping[str, str] = {
    "--input": "--input-file",
    "--output": "--output-file",
    "--chat-template-kwargs": "--default-chat-template-kwargs",
    "--max-num-seqs": "--slots",
    "--max-concurrency": "--max-inflight",
    "--max-waiting-time": "--engine-start-timeout",
}
"""Our own flags under the names that other runners, or hurried fingers, give them."""

USES: Mapping[str, Use] = {
    "--host": Use.NOTHING,
    "--port": Use.NOTHING,
    "--url": Use.NOTHING,
    "--workers": Use.NOTHING,
    "--enable-metrics": Use.IGNORED,
    "--enable-mm-output": Use.IGNORED,
    "--max-num-queued-reqs": Use.IGNORED,
    "--max-num-queued-tokens": Use.IGNORED,
    "--max-log-len": Use.IGNORED,
    "--enable-log-outputs": Use.IGNORED,
    "--enable-log-requests": Use.IGNORED,
    "--disable-log-stats": Use.IGNORED,
    "--api-key": Use.IGNORED,
    "--uds": Use.IGNORED,
    "--root-path": Use.IGNORED,
}

_FLAG = re.compile(r"^(--[^\W\d]|-[^\W\d])")
_SIZE = re.compile(r"^(\d+)(\.\d+)?([kmgtKMGT]?)$")
_POWERS = "kmgt"


class Own(Struct, frozen=True):
    """One of our own flags: does it take a value, may it come more than once, is the value a JSON object?"""

    takes_value: bool
    multiple: bool = False
    json: bool = False


class Sorted(Struct, frozen=True):
    """A command line in two parts: `words` for our parser, and the foreign flags in the user's order."""

    words: tuple[str, ...]
    foreign: tuple[EngineFlag, ...]


class MissingValue(Exception):
    """One of our own flags stands without its value."""


def sort_out(words: Sequence[str], own: Mapping[str, Own]) -> Sorted:
    """Sort a command line; names come out with dashes. Raises MissingValue, and ValueError for a broken JSON flag."""
    return _Sorting(words, own).run()


class _Sorting:
    """One pass over the words."""

    def __init__(self, words: Sequence[str], own: Mapping[str, Own]) -> None:
        self._left = list(reversed(words))
        self._own = own
        self._ours: list[str] = []
        self._foreign: list[EngineFlag] = []
        self._json: dict[str, list[tuple[str, str]]] = {}

    def run(self) -> Sorted:
        while self._left:
            word = self._left.pop()
            if is_flag(word):
                self._flag(word)
            else:
                self._ours.append(word)
        for name, parts in self._json.items():
            self._ours.append(f"{name}={json_flags.merged(parts)}")
        return Sorted(tuple(self._ours), tuple(self._foreign))

    def _flag(self, word: str) -> None:
        given, equals, value = word.partition("=")
        name = _with_dashes(given)
        stem, _, path = name.partition(".")
        stem = ALIASES.get(stem, stem)
        own = self._own.get(stem.rstrip("+"))
        if own is None:
            self._not_ours(name, value if equals else None, word)
        elif own.json:
            self._json.setdefault(stem, []).append((given.partition(".")[2], value if equals else self._value(name)))
        elif path:
            self._not_ours(name, value if equals else None, word)
        elif not own.takes_value:
            self._ours.append(stem)  # also `--help=group`
        else:
            self._ours += self._with_values(stem.rstrip("+"), own, value if equals else None)

    def _with_values(self, name: str, own: Own, value: str | None) -> list[str]:
        words = [f"{name}={self._value(name) if value is None else value}"] if name.startswith("--") else []
        if not words:
            words = [name, self._value(name) if value is None else value]
        while own.multiple and self._left and not is_flag(self._left[-1]):
            words += [f"{name}={self._left.pop()}"]
        return words

    def _not_ours(self, name: str, value: str | None, word: str) -> None:
        short = self._own.get(name[:2])
        if not name.startswith("--") and short is not None and short.takes_value:
            self._ours += [name[:2], word[2:]]  # the value is glued on: -ifile
            return
        values = [] if value is None else [value]
        while value is None and self._left and not is_flag(self._left[-1]):
            values.append(self._left.pop())
        self._foreign.append(EngineFlag(name, tuple(values)))

    def _value(self, name: str) -> str:
        if not self._left or is_flag(self._left[-1]):
            raise MissingValue(name)
        return self._left.pop()


def is_flag(word: str) -> bool:
    """`--name`, `-n`; not `-`, `--` or a negative number."""
    return _FLAG.match(word) is not None


def _with_dashes(name: str) -> str:
    """Underscores become dashes, but not in the keys behind a dot."""
    stem, dot, path = name.partition(".")
    return stem.replace("_", "-") + dot + path


def use_of(flag: EngineFlag) -> Use:
    return USES.get(flag.name.partition(".")[0].rstrip("+"), Use.PROGRAM)


def for_program(flags: Iterable[EngineFlag]) -> tuple[EngineFlag, ...]:
    """What the engine's own program is started with, if it is one."""
    return tuple(flag for flag in flags if use_of(flag) is Use.PROGRAM)


def warning(flags: Iterable[EngineFlag], engine: str, own: Collection[str], given: Iterable[str] = ()) -> str | None:
    """One line that names what is ignored with this engine, with a guess at what was meant; None where nothing is.

    `flags` are foreign ones, `given` those of ours that only some engines heed.
    """
    taken = {Use.NOTHING, Use.PROGRAM} if engine in MANAGED else {Use.NOTHING}
    unheeded = [name for name in given if engine in HEEDED and name not in HEEDED[engine]]
    names = dict.fromkeys([*unheeded, *(flag.name for flag in flags if use_of(flag) not in taken)])
    if not names:
        return None
    return f"Ignored with the engine {engine}: " + ", ".join(_with_guess(name, own) for name in names)


def _with_guess(name: str, own: Collection[str]) -> str:
    near = difflib.get_close_matches(name, own, n=1, cutoff=0.85)
    return f"{name} (did you mean {near[0]}?)" if near and name not in own else name


def size(text: str) -> int:
    """A whole number as vLLM reads it: `4096`, `25.6k` (thousands, a fraction allowed), `32K` (times 1024)."""
    match = _SIZE.match(text.strip())
    if match is None or (match[2] and not match[3].islower()):
        raise ValueError(f"{text!r} is not a size such as 4096, 25.6k or 32K")
    power = _POWERS.find(match[3].lower()) + 1 if match[3] else 0
    factor = 1000**power if match[3].islower() else 1024**power
    whole, fraction = int(match[1]) * factor, match[2] or ".0"
    return whole + int(fraction[1:]) * factor // 10 ** (len(fraction) - 1)
