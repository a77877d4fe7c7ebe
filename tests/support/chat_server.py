"""An OpenAI-compatible server made small: says back the last message, as slowly as a test wants."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager

from tests.support.web_server import Exchange, Script, serving


class Gate:
    """Lets the first `free` chat requests pass; the others wait until it is opened."""

    def __init__(self, free: int | None = None) -> None:
        self._left = free
        self._open = threading.Event()
        self._changed = threading.Condition()
        self.asked: list[str] = []
        """The texts that were asked, in order of arrival, waiting ones too."""

    def open(self) -> None:
        self._open.set()

    def wait_for(self, count: int, timeout: float = 30) -> None:
        """Return once that many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, timeout), self.asked

    def passed(self, text: str) -> bool:
        """Take a request; False where it waited and nobody opened."""
        with self._changed:
            self.asked.append(text)
            self._changed.notify_all()
            free = self._left is None or self._left > 0
            self._left = self._left - 1 if self._left else self._left
        return free or self._open.wait(30)


@contextmanager
def chatting(gate: Gate | None = None) -> Generator[Script]:
    """Serve chat completions and the list of models; every key is good."""
    gate = gate or Gate()

    def step(exchange: Exchange) -> None:
        if exchange.seen.method == "GET":
            exchange.reply(200, json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode())
            return
        text = json.loads(exchange.seen.body)["messages"][-1]["content"]
        if gate.passed(text):
            exchange.reply(200, json.dumps(_answer(text)).encode(), {"Content_Type": "application/json"})
        else:
            exchange.drop()

    with serving(step) as script:
        try:
            yield script
        finally:
            gate.open()


def _answer(text: str) -> dict[str, object]:
    words = len(text.split())
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words},
    }
