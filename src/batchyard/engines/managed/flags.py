"""Words of a command line, grouped into flags, and the same flags as another program spells them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag with its values: `Flag("--max-num-seqs", ("8",))`."""

    name: str
    values: tuple[str, ...] = ()

    @property
    def bare(self) -> str:
        """What it is about: a flag and its negation are about the same thing."""
        return self.name.lstrip("-").removeprefix("no-")

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name, *self.values)


def flag(name: str, *values: object) -> Flag:
    return Flag(name, tuple(map(str, values)))


def parse(words: Sequence[str]) -> list[Flag]:
    """Group words by flag; `--a=b` is split. Words before the first flag belong to nobody and are left out."""
    flags: list[Flag] = []
    for word in words:
        if _is_flag(word):
            name, equals, value = word.partition("=")
            flags.append(Flag(_dashed(name), (value,) if equals else ()))
        elif flags:
            flags[-1] = Flag(flags[-1].name, (*flags[-1].values, word))
    return flags


def translated(flags: Iterable[Flag], spelling: Mapping[str, str | None]) -> list[Flag]:
    """The flags under other names; those that are spelled None are left out, those without an entry stay."""
    renamed = ((spelling.get(each.name, each.name), each.values) for each in flags)
    return [Flag(name, values) for name, values in renamed if name is not None]


def number(flags: Iterable[Flag], name: str) -> int | None:
    """The value of the last flag of that name, where it is a whole number."""
    texts = [each.values[0] for each in flags if each.name == name and each.values]
    return int(texts[-1]) if texts and texts[-1].isdecimal() else None


def without(flags: Iterable[Flag], taken: Iterable[Flag]) -> list[Flag]:
    """The flags that none of `taken` is about."""
    subjects = {each.bare for each in taken}
    return [each for each in flags if each.bare not in subjects]


def words_of(flags: Iterable[Flag]) -> tuple[str, ...]:
    return tuple(word for each in flags for word in each.words)


def _is_flag(word: str) -> bool:
    """`-1` and `-.5` are values."""
    return len(word) > 1 and word[0] == "-" and not (word[1].isdigit() or word[1] == ".")


def _dashed(name: str) -> str:
    """`--max_num_seqs` is `--max-num-seqs`; what follows a dot is a key of the user's own."""
    before, dot, key = name.partition(".")
    return before.replace("_", "-") + dot + key
