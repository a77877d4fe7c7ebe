"""`python -m batchyard.demo`: where the demo's batch file lies; with an output file, how many answers are right."""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard import demo

SHOWN = 10


class _Message(Struct):
    content: str | None = None


class _Choice(Struct):
    message: _Message | None = None
    text: str | None = None


class _Body(Struct):
    choices: list[_Choice] = []


class _Response(Struct):
    body: _Body | None = None


class _Line(Struct):
    custom_id: str | None
    response: _Response | None


def check(output: Path) -> int:
    """Compare an output file with the right answers, say what came of it, and give the exit code."""
    wrong = _wrong(output, demo.answers())
    total = len(demo.answers())
    print(f"{total - len(wrong)} of {total} answers are right. They are in {output}.")
    for custom_id, (expected, got) in list(wrong.items())[:SHOWN]:
        print(f"  {custom_id}: expected {expected!r}, got {got!r}")
    return 1 if wrong else 0


def _wrong(output: Path, expected: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """The expected and the given text of each line that is not right, lines without an answer among them."""
    given = dict(_texts(line) for line in output.read_bytes().splitlines())
    pairs = {custom_id: (text, given.get(custom_id)) for custom_id, text in expected.items()}
    return {custom_id: pair for custom_id, pair in pairs.items() if not _same(*pair)}


def _texts(line: bytes) -> tuple[str | None, str | None]:
    read = msgspec.json.decode(line, type=_Line)
    choices = read.response.body.choices if read.response and read.response.body else []
    if not choices:
        return read.custom_id, None
    message = choices[0].message
    return read.custom_id, message.content if message else choices[0].text


def _same(expected: str, given: str | None) -> bool:
    """JSON is compared as JSON: spaces between its tokens say nothing."""
    if given is None:
        return False
    try:
        return msgspec.json.decode(expected) == msgspec.json.decode(given)
    except msgspec.DecodeError:
        return expected == given.strip()


def main(words: list[str]) -> int:
    match words:
        case []:
            print(demo.requests())
            return 0
        case [output] if not output.startswith("-"):
            return check(Path(output))
        case _:
            print("usage: python -m batchyard.demo [OUTPUT.jsonl]", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
