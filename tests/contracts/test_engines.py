"""What every engine promises, held against every engine that can be opened here.

An engine is added by its opener: an async context that gives an engine, not yet started, and the model to ask for.
Engines that need what is not on every machine (a model file, a program) skip themselves in their opener.
"""

import asyncio
import importlib
import json
import pkgutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import batchyard.engines
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure
from batchyard.endpoints.embeddings import GROUPED
from batchyard.engine import Engine, stream
from batchyard.engines import echo, http, openvino
from batchyard.pipeline.group import Groups
from tests.support.streams import hear, words
from tests.support.tiny_painter import tiny_painter
from tests.support.upstream import Asked, Talk, Upstream, embeds, good, speaking

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
IMAGES = "/v1/images/generations"


@dataclass(frozen=True)
class Opened:
    """`counts` says whether the engine's answers tell their tokens."""

    engine: Engine
    model: str
    endpoint: str = CHAT
    counts: bool = True


Opener = Callable[[], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def open_echo() -> AsyncGenerator[Opened]:
    yield Opened(echo.open(echo.Config()), "echo")


@asynccontextmanager
async def open_http() -> AsyncGenerator[Opened]:
    async def serves(asked: Asked, talk: Talk) -> None:
        await (embeds() if asked.target == EMBEDDINGS else good())(asked, talk)

    async with Upstream(default=serves) as upstream:
        yield Opened(http.open(http.Config(urls=(upstream.url,))), "m")


@asynccontextmanager
async def open_streaming_http() -> AsyncGenerator[Opened]:
    async with Upstream(default=speaking()) as upstream:
        config = http.Config(urls=(upstream.url,), endpoints=frozenset({CHAT}))
        yield Opened(http.open(config), "m")


@asynccontextmanager
async def open_pictures() -> AsyncGenerator[Opened]:
    with TemporaryDirectory() as folder:
        engine = openvino.open(openvino.Config(model_path=str(tiny_painter(Path(folder)))))
        yield Opened(engine, "painter", IMAGES, counts=False)


OPENERS: dict[str, Opener] = {
    "echo": open_echo,
    "http": open_http,
    "http that streams": open_streaming_http,
    "openvino that paints": open_pictures,
}


@pytest.fixture(params=OPENERS)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    async with OPENERS[request.param]() as opened:
        yield opened
        await opened.engine.close()


def a_request(opened: Opened, line: int = 0, text: str = "hello") -> Request:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": 8}
    if opened.endpoint == IMAGES:
        asked = {"prompt": text, "num_inference_steps": 1}
    body = json.dumps({"model": opened.model, **asked}).encode()
    return Request(line, f"id-{line}", opened.endpoint, opened.model, body)


def embedding(opened: Opened, line: int, text: str) -> Request:
    body = {"model": opened.model, "input": text}
    return Request(line, f"id-{line}", EMBEDDINGS, opened.model, json.dumps(body).encode())


def json_of(reply: object) -> dict[str, Any]:
    assert isinstance(reply, Answer), reply
    found = json.loads(reply.body)
    assert isinstance(found, dict)
    return found  # pyright: ignore[reportUnknownVariableType]


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(batchyard.engines.__path__)])
def test_an_engine_is_a_module_with_a_config_and_a_way_to_open_it(name: str) -> None:
    module = importlib.import_module(f"batchyard.engines.{name}")
    assert issubclass(module.Config, object)
    assert callable(module.open)


async def test_a_started_engine_tells_what_it_can_do(opened: Opened) -> None:
    abilities = await opened.engine.start()
    assert opened.endpoint in abilities.endpoints
    assert abilities.models is None or opened.model in abilities.models
    assert abilities.slots is None or abilities.slots >= 1
    assert abilities.description


async def test_an_answer_is_a_json_object_with_its_usage_where_it_is_counted(opened: Opened) -> None:
    await opened.engine.start()
    reply = await opened.engine.infer(a_request(opened))
    assert json_of(reply)
    assert isinstance(reply, Answer)
    assert reply.status == 200
    assert (reply.usage.input_tokens > 0) == opened.counts


async def test_any_number_of_requests_may_be_under_way(opened: Opened) -> None:
    await opened.engine.start()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(opened.engine.infer(a_request(opened, line, f"word{line}"))) for line in range(40)]
    assert all(json_of(task.result()) for task in tasks)


async def test_embeddings_that_are_asked_together_are_those_that_each_would_have_had(opened: Opened) -> None:
    if EMBEDDINGS not in (await opened.engine.start()).endpoints:
        return
    groups, requests = Groups(GROUPED, 8), [embedding(opened, line, f"text {line}" * line) for line in range(1, 9)]
    loose = [each for each in map(groups.read, requests) if each is not None]
    call = groups.joined(requests[0], loose)
    together = await opened.engine.infer(call)
    assert isinstance(together, Answer) and together.ok
    replies = groups.replies(together, loose, 1.0)
    assert replies is not None
    for request, reply in zip(requests, replies, strict=True):
        one, its = json_of(await opened.engine.infer(request)), json_of(reply)
        assert its["data"] == one["data"] and its["object"] == one["object"]
        assert its["usage"].keys() == one["usage"].keys()
    assert sum(json_of(reply)["usage"]["total_tokens"] for reply in replies) == together.usage.input_tokens


async def test_a_request_that_cannot_be_answered_is_a_value_and_the_next_one_is_answered(opened: Opened) -> None:
    await opened.engine.start()
    strange = Request(0, "id-0", "/v1/no/such/endpoint", opened.model, b'{"model":"m","messages":"what"}')
    assert isinstance(await opened.engine.infer(strange), (Answer, Failure))
    assert json_of(await opened.engine.infer(a_request(opened)))


async def test_a_request_can_be_given_up_and_the_next_one_is_answered(opened: Opened) -> None:
    await opened.engine.start()
    async with asyncio.TaskGroup() as group:
        given_up = [group.create_task(opened.engine.infer(a_request(opened, line))) for line in range(5)]
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
    assert json_of(await opened.engine.infer(a_request(opened)))


async def test_a_stream_adds_up_to_the_answer(opened: Opened) -> None:
    """Or comes whole: an engine is free to."""
    await opened.engine.start()
    request = a_request(opened, text="one two  three\n")
    whole = json_of(await opened.engine.infer(request))
    pieces, reply = await hear(opened.engine, request)
    assert isinstance(reply, Answer) and reply.ok and (reply.usage.input_tokens > 0) == opened.counts
    if not pieces:
        assert json_of(reply).keys() == whole.keys()
        return
    assert reply.body == b""
    assert words(pieces) == whole["choices"][0]["message"]["content"]
    assert pieces[-1]["choices"] == [] and pieces[-1]["usage"] == whole["usage"]


async def test_a_stream_that_cannot_be_told_is_a_value(opened: Opened) -> None:
    await opened.engine.start()
    strange = Request(0, "id-0", "/v1/no/such/endpoint", opened.model, b'{"model":"m","messages":"what"}')
    assert isinstance((await hear(opened.engine, strange))[1], (Answer, Failure))
    assert isinstance((await hear(opened.engine, a_request(opened)))[1], Answer)


async def test_a_stream_can_be_given_up_and_the_next_one_is_told(opened: Opened) -> None:
    await opened.engine.start()

    async def say(piece: bytes) -> None:
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        given_up = [group.create_task(stream(opened.engine, a_request(opened, line), say)) for line in range(5)]
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
    assert isinstance((await hear(opened.engine, a_request(opened)))[1], Answer)


async def test_it_can_be_closed_twice_and_without_a_start(opened: Opened) -> None:
    await opened.engine.close()
    await opened.engine.close()


async def test_it_can_be_closed_with_requests_under_way(opened: Opened) -> None:
    await opened.engine.start()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(opened.engine.infer(a_request(opened, line))) for line in range(5)]
        await asyncio.sleep(0)
        await opened.engine.close()
    assert all(isinstance(task.result(), (Answer, Failure)) for task in tasks)
