"""A scripted server, and an Api of it that waits for nothing."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from batchyard.transport.api import Api
from batchyard.transport.web import Patience
from tests.support.web_server import Exchange, Script, Step, serving

QUICK = Patience(tries=4, backoff_seconds=1, idle_seconds=10)


@dataclass
class Told:
    """What was asked of a server, and for how long its Api would have waited."""

    api: Api
    script: Script
    waited: list[float] = field(default_factory=list[float])


@contextmanager
def asking(*steps: Step, key: str | None = "secret", path: str = "v1") -> Generator[Told]:
    with serving(*steps) as script:
        waited = list[float]()
        api = Api(script.url + path, key, patience=QUICK, sleep=waited.append)
        try:
            yield Told(api, script, waited)
        finally:
            api.close()


def says(value: object, status: int = 200, **headers: str) -> Step:
    """A step that answers with JSON."""
    return lambda exchange: exchange.reply(status, json.dumps(value).encode(), headers)


def refuses(status: int, message: str, code: str | None = None, **headers: str) -> Step:
    """A step that answers with an error as the wire has it."""
    return says({"error": {"message": message, "type": "t", "param": None, "code": code}}, status, **headers)


def hangs_up(exchange: Exchange) -> None:
    """A step without an answer."""
    exchange.drop()
