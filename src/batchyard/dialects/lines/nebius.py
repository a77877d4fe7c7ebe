"""The line format of Nebius' batch service: OpenAI's, but an answer stands in `response` without a wrapper.

Source: the Nebius Token Factory documentation, "Batch inference" (sample of an output line). Of a request that an
engine refused it shows nothing; we say the engine's own words in `error`, as failed lines stand in the error file.
"""

from typing import Any

import msgspec

from batchyard.dialect import LineDialect
from batchyard.dialects.lines._ascii import one_line, quoted
from batchyard.dialects.lines.openai import MOST_TEXT, Config, OpenAIDialect
from batchyard.domain.result import Answer

__all__ = ["Config", "NebiusDialect", "open"]


def open(config: Config) -> LineDialect:
    return NebiusDialect(config)


class NebiusDialect(OpenAIDialect):
    """Good answers stand in `response`, all else in `error`."""

    name = "nebius"

    def _response(self, answer: Answer, place: int) -> bytes:
        body = one_line(answer.body)
        if answer.ok and body is not None:
            return b'"response": %s, "error": null' % body
        code, message = _words(answer)
        return b'"response": null, "error": {"code": %s, "message": %s}' % (quoted(code), quoted(message))


def _words(answer: Answer) -> tuple[str, str]:
    """What an engine says of a request that it refused: its code word, or the status, and its message."""
    text = answer.body.decode("utf-8", "replace")[:MOST_TEXT] or "The engine sent no body."
    try:
        error: Any = msgspec.json.decode(answer.body)["error"]
        return str(error.get("code") or answer.status), str(error.get("message") or text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError, AttributeError):
        return str(answer.status), text
