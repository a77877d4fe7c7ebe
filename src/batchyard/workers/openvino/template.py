"""A chat's messages as the text that its model was trained on: the model's own Jinja template, in a sandbox."""

import importlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, cast

from batchyard.clock import SystemClock
from batchyard.workers.openai import BadRequest, Body


class ChatTemplate:
    """`words` are what templates expect to know: `bos_token`, `eos_token`.

    The dialect is that of Hugging Face: https://huggingface.co/docs/transformers/main/chat_templating
    """

    def __init__(self, source: str, words: Mapping[str, str]) -> None:
        sandbox = importlib.import_module("jinja2.sandbox")
        environment = sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        environment.filters["tojson"] = _to_json
        self._template = environment.from_string(source)
        self._words = dict(words)

    def render(self, messages: list[Body], extra: Mapping[str, Any]) -> str:
        """The prompt up to where the assistant begins. Raises BadRequest where the template refuses the messages."""
        try:
            return str(
                self._template.render(
                    **self._words, **extra, messages=[_plain(m) for m in messages], add_generation_prompt=True
                )
            )
        except BadRequest:
            raise
        except Exception as error:  # a template may fail in any way that Python can
            raise BadRequest(f"The chat template cannot show these messages: {error}", param="messages") from error


def _plain(message: Body) -> Body:
    """A message with its text in one piece, as most templates want it."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = cast("list[Body]", content)
    return {**message, "content": "".join(part["text"] for part in parts)}


def _refuse(message: str) -> NoReturn:
    raise BadRequest(f"The chat template refuses these messages: {message}", param="messages")


def _now(form: str) -> str:
    return datetime.fromtimestamp(SystemClock().now(), UTC).strftime(form)


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
