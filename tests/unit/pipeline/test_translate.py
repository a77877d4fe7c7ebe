"""Responses on an engine that only knows chats."""

import json
from typing import Any

import msgspec
import pytest

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Reply, usage_of
from batchyard.endpoints import images
from batchyard.endpoints.responses import AS_CHAT
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.translate import Translating
from tests.support.streams import hear

RESPONSES = "/v1/responses"
IMAGES = "/v1/images/generations"


def a_request(endpoint: str = RESPONSES, **fields: Any) -> Request:
    body = {"model": "m", "input": "cold?", **fields}
    return Request(3, "a", endpoint, "m", msgspec.json.encode(body))


async def an_engine(script: echo.Script | None = None) -> Translating:
    engine = Translating(echo.open(echo.Config(script=script)), AS_CHAT)
    await engine.start()
    return engine


class Native:
    """An engine that has responses of its own."""

    restarts = 0

    async def start(self) -> Abilities:
        return Abilities(endpoints=frozenset({RESPONSES, echo.CHAT}), models=None)

    async def infer(self, request: Request) -> Reply:
        return Answer(200, request.endpoint.encode())

    async def close(self) -> None:
        return None


async def test_responses_are_added_to_what_the_engine_can_do() -> None:
    abilities = await Translating(echo.open(echo.Config()), AS_CHAT).start()
    assert RESPONSES in abilities.endpoints and echo.EMBEDDINGS in abilities.endpoints


async def test_a_response_is_what_the_chat_answered() -> None:
    engine = await an_engine()
    reply = await engine.infer(a_request(instructions="Short."))
    await engine.close()
    assert isinstance(reply, Answer)
    response = json.loads(reply.body)
    assert response["object"] == "response"
    assert response["output"][0]["content"][0]["text"] == "cold?"
    assert response["usage"]["output_tokens"] == reply.usage.output_tokens == 1


async def test_an_engine_with_responses_is_left_alone() -> None:
    engine = Translating(Native(), AS_CHAT)
    await engine.start()
    assert await engine.infer(a_request()) == Answer(200, RESPONSES.encode())


async def test_other_endpoints_are_left_alone() -> None:
    engine = await an_engine()
    reply = await engine.infer(a_request(echo.EMBEDDINGS))
    assert isinstance(reply, Answer) and json.loads(reply.body)["object"] == "list"


async def test_what_a_chat_cannot_say_is_answered_as_a_bad_request() -> None:
    engine = await an_engine()
    reply = await engine.infer(a_request(previous_response_id="resp_1"))
    assert isinstance(reply, Answer) and reply.status == 400
    assert json.loads(reply.body)["error"]["param"] == "previous_response_id"


@pytest.mark.parametrize("bad", [Answer(429, b'{"error":{}}'), Failure("connection_lost", "Gone.")])
async def test_errors_pass_as_they_are(bad: Reply) -> None:
    async def script(_: Request) -> Reply | None:
        return bad

    assert await (await an_engine(script)).infer(a_request()) == bad


async def test_an_answer_that_is_no_chat_is_lost() -> None:
    async def script(_: Request) -> Reply | None:
        return Answer(200, b'{"choices":[]}')

    reply = await (await an_engine(script)).infer(a_request())
    assert isinstance(reply, Failure) and reply.code == "bad_answer"


# Pictures, which come in no pieces


async def pictured(request: Request) -> Reply:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    message = {"role": "assistant", "content": json.loads(request.body)["messages"][0]["content"], "images": [picture]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    body = msgspec.json.encode({"choices": [{"index": 0, "message": message}], "usage": usage})
    return Answer(200, body, usage=usage_of(body))


async def a_painter(script: echo.Script) -> Translating:
    engine = Translating(echo.open(echo.Config(script=script)), images.AS_CHAT)
    abilities = await engine.start()
    assert IMAGES in abilities.endpoints and echo.CHAT in abilities.endpoints
    return engine


def asking_for_pictures() -> Request:
    return Request(0, "a", IMAGES, "m", b'{"model":"m","prompt":"a cat"}')


async def test_pictures_are_what_the_chat_shows() -> None:
    engine = await a_painter(pictured)
    reply = await engine.infer(asking_for_pictures())
    assert isinstance(reply, Answer) and reply.usage.input_tokens == 3
    assert json.loads(reply.body)["data"] == [{"b64_json": "AAAA", "index": 0, "text": "a cat"}]


async def test_a_stream_of_what_comes_in_no_pieces_comes_whole() -> None:
    pieces, reply = await hear(await a_painter(pictured), asking_for_pictures())
    assert pieces == [] and isinstance(reply, Answer) and b"AAAA" in reply.body


async def test_a_chat_that_is_none_is_a_bad_answer() -> None:
    async def nothing(request: Request) -> Reply:
        return Answer(200, b"{}")

    reply = await (await a_painter(nothing)).infer(asking_for_pictures())
    assert isinstance(reply, Failure) and reply.code == "bad_answer"
