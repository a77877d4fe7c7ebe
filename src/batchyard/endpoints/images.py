"""`/v1/images/generations`: words in, pictures out; and the same as a chat, for models that show pictures there."""

import re

from batchyard.endpoint import Body, Problem, Traits, Translation
from batchyard.endpoints._checks import STRING, absent, fraction, not_a
from batchyard.endpoints._images_told import from_chat, to_chat

MOST_PICTURES = 10
"""OpenAI's own limit on `n`."""

AUTO = b'"auto"'
BASE64 = b'"b64_json"'
_pixels = re.compile(rb'"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}"').fullmatch


class Images:
    """A text of which the model makes pictures. Only a seed makes them the same again."""

    path = "/v1/images/generations"
    prompt = "prompt"

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        if not prompt.startswith(STRING):
            return not_a("prompt", prompt, "a string")
        problem = _number(body) or _size(bytes(body.size)) or _form(bytes(body.response_format))
        return problem or Traits(repeatable=body.seed is not None, output_tokens=0)


AS_CHAT = Translation(source="/v1/images/generations", target="/v1/chat/completions", request=to_chat, answer=from_chat)
"""For models that answer a chat with pictures in its message, and have no endpoint for them."""


def _number(body: Body) -> Problem | None:
    if body.n is not None and not 1 <= body.n <= MOST_PICTURES:
        return Problem(
            "invalid_request", f"'body.n' is {body.n}.", "n", f"Ask for 1 to {MOST_PICTURES} pictures in one line."
        )
    return fraction(body, "n", "seed")


def _size(size: bytes) -> Problem | None:
    if absent(size) or size == AUTO or _pixels(size):
        return None
    return Problem("invalid_request", "'body.size' is no size.", "size", "Write it as 1024x1024, or auto.")


def _form(form: bytes) -> Problem | None:
    """A URL would be gone long before anybody reads the results."""
    if absent(form) or form == BASE64:
        return None
    said = form.decode() if form.startswith(STRING) else "no string"
    return Problem(
        "invalid_request", f"'body.response_format' is {said}.", "response_format",
        "Write it as b64_json, so that the pictures themselves are in the results, or leave it out.",
    )  # fmt: skip
