"""Results of a batch while it runs: a portion of them, and how far a reader has come."""

import re
from enum import StrEnum

from msgspec import Struct

from batchyard.domain.errors import Invalid

_WORD = re.compile(r"([oea])(\d{1,15})\.(\d{1,18})\.(\d{1,18})")


class Kind(StrEnum):
    """Which lines are asked for: those of the output file, those of the error file, or both."""

    ALL = "all"
    OUTPUT = "output"
    ERRORS = "errors"

    @property
    def has_output(self) -> bool:
        return self is not Kind.ERRORS

    @property
    def has_errors(self) -> bool:
        return self is not Kind.OUTPUT


class Watermark(Struct, frozen=True):
    """How far a reader has come: lines of the input that it need not look at again, and bytes of either result file.

    Lines come in the order of the input, so what a reader has is the beginning of the files as they will be: while the
    batch walks it goes on at the line, afterwards at the bytes.
    """

    kind: Kind
    lines: int = 0
    output_bytes: int = 0
    error_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.kind[0]}{self.lines}.{self.output_bytes}.{self.error_bytes}"

    @classmethod
    def read(cls, word: str | None, kind: Kind) -> "Watermark":
        """Raises Invalid for a word that is none, or one of another kind."""
        if not word:
            return cls(kind)
        found = _WORD.fullmatch(word)
        if found is None or found[1] != kind[0]:
            raise bad_watermark()
        return cls(kind, *(int(number) for number in found.groups()[1:]))


class Portion(Struct, frozen=True):
    """Some whole lines, and where to go on. `more` says that asking again at once brings more."""

    data: bytes
    lines: int
    watermark: Watermark
    more: bool


def bad_watermark() -> Invalid:
    return Invalid(
        "Invalid 'after': it is no x-batchyard-watermark of this batch and kind.",
        remedy="Give back what an earlier answer said, or begin without it.",
        param="after",
        reason="invalid_value",
    )
