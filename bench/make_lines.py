"""Files of request lines to measure with, as long as needed: seeded, streamed, equal recipes give equal bytes.

    python -m bench.make_lines FILE --lines 5000000 --line-bytes 2000 [--seed 7] [--repeats 0.1] [--bad 0.0]

A line is a chat request: one of 512 system messages (a fifth of the line, so that prefixes are shared), then one of a
pool of texts with accents and escapes, which ends in the line's number. `repeats` is the share of lines that ask what
an earlier one asks, under an id of their own; `bad` the share that cannot run, each for another of a few reasons.
Making a line takes two microseconds; the disk sets the speed.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

WORDS = "alpha beta gamma delta model token batch prefix latency through été data query movie review the of and to in"
ODD_WORDS = ('"quoted"', "line\nbreak", "tab\there")
PREFIXES = 512
TEXTS = 1024
LINES_AT_ONCE = 512
REPEATED = 997
"""So many different requests are asked by all repeated lines together."""

_LINE = (
    b'{"custom_id": "request-%08d", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "null", '
    b'"messages": [{"role": "system", "content": "%b"}, {"role": "user", "content": "%b %d"}], "max_tokens": 128, '
    b'"temperature": 0}}\n'
)
_FAULTS = (
    (b'"max_tokens": 128', b'"max_tokens": "many"'),  # a wrong type
    (b'"messages"', b'"massages"'),  # a field that is missing
    (b'"/v1/chat/completions"', b'"/v1/chat"'),  # no such endpoint
    (b'"temperature": 0', b'"stream": true'),  # what a batch cannot do
    (b"}}\n", b"}\n"),  # no JSON
)


class Recipe(Struct, frozen=True, kw_only=True):
    """What a file holds. Shares are from 0 to 1."""

    lines: int
    line_bytes: int = 2000
    seed: int = 7
    repeats: float = 0.0
    bad: float = 0.0


def write_lines(path: Path, recipe: Recipe) -> int:
    """Write the file of a recipe and return its size in bytes. Memory does not grow with it."""
    with path.open("wb", buffering=0) as file:
        for block in _blocks(recipe):
            file.write(block)
        return file.tell()


def _blocks(recipe: Recipe) -> Iterator[bytes]:
    draw = Random(recipe.seed)
    prefixes, texts = _pools(draw, recipe.line_bytes)
    for first in range(0, recipe.lines, LINES_AT_ONCE):
        count = min(LINES_AT_ONCE, recipe.lines - first)
        yield b"".join(
            _line(first + at, prefixes, draw.random(), draw.random(), texts, recipe) for at in range(count)
        )


def _line(
    number: int, prefixes: list[bytes], which: float, chance: float, texts: list[bytes], recipe: Recipe
) -> bytes:
    asks = number % REPEATED if chance < recipe.repeats else number
    text = texts[asks % TEXTS if chance < recipe.repeats else int(which * TEXTS)]
    line = _LINE % (number, prefixes[asks % PREFIXES], text, asks)
    if recipe.bad and number * recipe.bad % 1 + recipe.bad >= 1:
        line = line.replace(*_FAULTS[int(number * recipe.bad) % len(_FAULTS)])
    return line


def _pools(draw: Random, line_bytes: int) -> tuple[list[bytes], list[bytes]]:
    """System messages and texts, as they stand between quotes in JSON."""
    room = max(0, line_bytes - len(_LINE) - 8)
    prefixes = [_text(draw, room // 5) for _ in range(PREFIXES)]
    return prefixes, [_text(draw, room - room // 5) for _ in range(TEXTS)]


def _text(draw: Random, size: int) -> bytes:
    words = [msgspec.json.encode(word)[1:-1] for word in (*WORDS.split(), *ODD_WORDS)]
    text = b""
    while len(text) < size:
        text += draw.choice(words) + b" "
    return text[: text.rindex(b" ", 0, size + 1)] if b" " in text[: size + 1] else b""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--line-bytes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeats", type=float, default=0.0)
    parser.add_argument("--bad", type=float, default=0.0)
    asked = vars(parser.parse_args())
    path = asked.pop("file")
    print(f"{write_lines(path, Recipe(**asked)):,} bytes in {path}")


if __name__ == "__main__":
    main()
