"""JSON as people write it on a command line: with single quotes, as the samples of the hosted service do."""

import re

from batchyard.dialects.gemini.calls import read_json
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Shapeless

_TEXT = re.compile(r"""("(?:[^"\\]|\\.)*")|'((?:[^'\\]|\\.)*)'""", re.DOTALL)


def read_leniently(body: bytes, depth: int) -> Json:
    """The object that a body is, where single quotes may stand for double ones. Raises Unfit."""
    try:
        return read_json(body, depth)
    except Shapeless as error:
        if b"'" not in body:
            raise
        try:
            return read_json(_TEXT.sub(_double, body.decode()).encode(), depth)
        except (Shapeless, UnicodeError):
            raise error from None


def _double(found: re.Match[str]) -> str:
    """A text in double quotes."""
    if found[1] is not None:
        return found[1]
    inside = found[2].replace("\\'", "'").replace('\\"', '"').replace('"', '\\"')
    return f'"{inside}"'
