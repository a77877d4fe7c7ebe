"""What a text of the model's says: up to where it stops, and what of it was only thought.

Both also of a text that is not finished: then that comes back which will stay, however it goes on.
"""

from collections.abc import Sequence

THINK, THOUGHT = "<think>", "</think>"
"""How Qwen3 and its like mark what they think before they answer."""


def stopped(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text up to the first stop, and whether there is one."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def surely_said(text: str, stops: Sequence[str]) -> str:
    """What of an unfinished text will be said: not the beginning of a stop at its end."""
    held = max((_overlap(text, stop) for stop in stops), default=0)
    return text[: min(len(stopped(text, stops)[0]), len(text) - held)]  # a longer stop may yet begin earlier


def thought_and_said(text: str) -> tuple[str, str]:
    """What was thought, and what was said after it. A thought that was cut off says nothing."""
    if not text.startswith(THINK):
        return "", text
    thought, _, said = text.removeprefix(THINK).partition(THOUGHT)
    return thought.strip("\n"), said.lstrip("\n")


def surely_thought_and_said(text: str) -> tuple[str, str]:
    """The same of an unfinished text: neither half a mark, nor line ends that may turn out to be the last."""
    if THINK.startswith(text):
        return "", ""
    if text.startswith(THINK) and THOUGHT not in text:
        text = text[: len(text) - _overlap(text, THOUGHT)]
    return thought_and_said(text)


def _overlap(text: str, mark: str) -> int:
    """How much of the end of a text may be the beginning of a mark."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
