"""Both embedded engines on the demo model, and short ways to ask them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from batchyard import demo
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from batchyard.engines import llamacpp, openvino
from batchyard.workers.engine import WorkerEngine

CHAT = "/v1/chat/completions"


def open_llamacpp(model: Path | None = None, **options: Any) -> WorkerEngine:
    return llamacpp.open(llamacpp.Config(model_path=str(model or demo.model_path()), **options))


def open_openvino(model: Path | None = None, **options: Any) -> WorkerEngine:
    return openvino.open(openvino.Config(model_path=str(model or demo.model_path()), **options))


ENGINES: Mapping[str, Callable[..., WorkerEngine]] = {"llamacpp": open_llamacpp, "openvino": open_openvino}


def a_chat(question: str = "What is 3 + 4?", *, line: int = 0, **body: Any) -> Request:
    """A chat of one question, answered greedily unless `body` says otherwise."""
    messages = [{"role": "user", "content": question}]
    asked: dict[str, Any] = {"messages": messages, "max_tokens": 32, "temperature": 0, **body}
    return a_request(CHAT, line=line, **asked)


def a_request(endpoint: str, *, line: int = 0, model: str = "demo", **body: Any) -> Request:
    return Request(line, f"line-{line}", endpoint, model, msgspec.json.encode({"model": model, **body}))


def told(reply: Reply, status: int = 200) -> dict[str, Any]:
    """The body of an answer with the given status."""
    assert isinstance(reply, Answer), reply
    assert reply.status == status, reply
    return msgspec.json.decode(reply.body)


def text(reply: Reply) -> str:
    """What the first choice says, whether of a chat or a completion."""
    choice = told(reply)["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


def refused(reply: Reply) -> dict[str, Any]:
    """The error of an answer with status 400, in OpenAI's envelope."""
    error = told(reply, 400)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error
