"""What the doctor says about one thing."""

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Worth knowing."""
    WARNING = "warning"
    """A run works, but slower or less safely than it could."""
    WRONG = "wrong"
    """A run will fail."""


class Finding(Struct, frozen=True, kw_only=True):
    """`subject` is stable (`memory`, `engine.llamacpp`), `text` and `remedy` are for people, `facts` for programs."""

    subject: str
    level: Level
    text: str
    remedy: str = ""
    facts: dict[str, object] = {}
