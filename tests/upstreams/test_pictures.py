"""Pictures of upstreams: asked for at their endpoint, or in a chat, as a model is configured."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchyard.config import Pictures, RunOptions
from batchyard.domain.request import Request
from batchyard.domain.result import Answer
from batchyard.engine import Engine
from batchyard.wiring.engine import engine_of
from tests.support.upstream import Move, Upstream, answer, says

IMAGES = "/v1/images/generations"
CHAT = "/v1/chat/completions"
MADE = {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": {"input_tokens": 4, "output_tokens": 1056}}


def asking(endpoint: str = IMAGES, **body: Any) -> Request:
    return Request(0, "a", endpoint, "m", json.dumps({"model": "m", "prompt": "a cat", **body}).encode())


def opened(upstream: Upstream, folder: Path, pictures: Pictures) -> Engine:
    options = RunOptions(input="", output="", upstreams=(upstream.url,), api_key_env="", pictures=pictures)
    return engine_of(options, str(folder)).engine


async def asked(upstream: Upstream, folder: Path, pictures: Pictures, request: Request) -> Answer:
    engine = opened(upstream, folder, pictures)
    abilities = await engine.start()
    assert {IMAGES, CHAT} <= abilities.endpoints
    reply = await engine.infer(request)
    await engine.close()
    assert isinstance(reply, Answer)
    return reply


def shows(*urls: str) -> Move:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    message = {"role": "assistant", "content": "Here.", "images": images}
    usage = {"prompt_tokens": 4, "completion_tokens": 1290, "total_tokens": 1294}
    told = {"id": "x", "created": 3, "choices": [{"index": 0, "message": message}], "usage": usage}
    return says(answer(json.dumps(told).encode()))


async def test_the_endpoint_of_pictures_gets_the_body_as_it_is(tmp_path: Path) -> None:
    async with Upstream(says(answer(json.dumps(MADE).encode()))) as upstream:
        reply = await asked(upstream, tmp_path, Pictures.IMAGES, asking(n=2, quality="high"))
    [post] = upstream.posts
    assert (post.target, post.json["quality"], post.json["n"]) == (IMAGES, "high", 2)
    assert json.loads(reply.body) == MADE
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (4, 1056)


async def test_a_base_url_that_names_the_endpoint_of_pictures_is_understood(tmp_path: Path) -> None:
    async with Upstream(says(answer(json.dumps(MADE).encode()))) as upstream:
        options = RunOptions(input="", output="", upstreams=(upstream.url + IMAGES,), api_key_env="")
        engine = engine_of(options, str(tmp_path)).engine
        await engine.start()
        await engine.infer(asking())
        await engine.close()
    assert upstream.posts[0].target == IMAGES


async def test_pictures_are_asked_for_in_a_chat_where_the_model_shows_them_there(tmp_path: Path) -> None:
    async with Upstream(shows("data:image/webp;base64,AAAA")) as upstream:
        reply = await asked(upstream, tmp_path, Pictures.CHAT, asking(size="64x64", response_format="b64_json"))
    [post] = upstream.posts
    assert post.target == CHAT
    assert post.json["messages"] == [{"role": "user", "content": "a cat"}]
    assert post.json["modalities"] == ["image", "text"]
    told = json.loads(reply.body)
    assert told["data"] == [{"b64_json": "AAAA", "index": 0, "text": "Here."}]
    assert (told["output_format"], reply.usage.output_tokens) == ("webp", 1290)


@pytest.mark.parametrize("pictures", list(Pictures))
async def test_a_chat_is_a_chat_however_pictures_are_asked_for(tmp_path: Path, pictures: Pictures) -> None:
    async with Upstream(shows("data:image/png;base64,AAAA")) as upstream:
        reply = await asked(upstream, tmp_path, pictures, asking(CHAT))
    assert upstream.posts[0].target == CHAT and upstream.posts[0].json["prompt"] == "a cat"
    assert json.loads(reply.body)["choices"][0]["message"]["images"]


async def test_an_upstream_that_refuses_is_heard(tmp_path: Path) -> None:
    refusal = b'{"error":{"message":"No cats.","type":"invalid_request_error","param":"prompt","code":"moderation"}}'
    for pictures in Pictures:
        async with Upstream(says(answer(refusal, 400))) as upstream:
            reply = await asked(upstream, tmp_path, pictures, asking())
        assert (reply.status, reply.body) == (400, refusal)
