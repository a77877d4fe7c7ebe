"""Pictures by the official clients, made by a real pipeline behind a real server; at once, and as a batch."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from batchyard.workers.engine import WorkerEngine
from tests.support.embedded import open_openvino
from tests.support.made_pictures import decoded, opened
from tests.support.serving import MODEL, Live, live
from tests.wire.openai.test_walks import WALKS, create, ended, jsonl, lines_of

IMAGES = "/v1/images/generations"


@asynccontextmanager
async def painting(engine: WorkerEngine) -> AsyncGenerator[Live]:
    """A server whose model is an engine that makes pictures."""
    abilities = await engine.start()
    async with live(script=engine.infer, endpoints=abilities.endpoints, walks=WALKS, slots=1) as server:
        yield server


@pytest.fixture
async def server(painter: Path) -> AsyncIterator[Live]:
    engine = open_openvino(painter)
    async with painting(engine) as server:
        yield server
    await engine.close()


def a_line(id: str, prompt: str = "a cat", **body: Any) -> dict[str, Any]:
    asked = {"model": MODEL, "prompt": prompt, "num_inference_steps": 1} | body
    return {"custom_id": id, "method": "POST", "url": IMAGES, "body": asked}


async def test_a_picture_is_made_at_once(server: Live) -> None:
    async with server.client() as client:
        answer = await client.images.generate(model=MODEL, prompt="a cat", size="256x256")
    [made] = answer.data or []
    picture = opened(made.b64_json or "")
    assert picture.size == (256, 256) and answer.output_format == "png"
    assert answer.usage is None, "nothing is counted in tokens"


async def two_pictures(client: AsyncOpenAI, seed: int) -> list[str]:
    extra = {"seed": seed, "num_inference_steps": 2, "guidance_scale": 3.5, "negative_prompt": "dogs"}
    answer = await client.images.generate(model=MODEL, prompt="a cat", n=2, size="64x128", extra_body=extra)
    return [entry.b64_json or "" for entry in answer.data or []]


async def test_several_pictures_and_settings_of_the_field_are_taken(server: Live) -> None:
    async with server.client() as client:
        first, again, other = [await two_pictures(client, seed) for seed in (7, 7, 8)]
    assert first == again and first[0] != other[0]
    assert [opened(each).size for each in first] == [(64, 128)] * 2


async def test_azure_asks_a_deployment_for_pictures(server: Live) -> None:
    async with server.azure() as client:
        answer = await client.images.generate(model=MODEL, prompt="a cat", response_format="b64_json")
    assert opened((answer.data or [])[0].b64_json or "").size == (64, 64)


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"size": "100x100"}, "size"), ({"response_format": "url"}, "response_format"), ({"n": 99}, "n")],
)
async def test_what_cannot_be_made_is_a_400_that_names_the_field(
    server: Live, asked: dict[str, Any], param: str
) -> None:
    async with server.client() as client:
        with pytest.raises(BadRequestError) as refused:
            await client.images.generate(model=MODEL, prompt="a cat", **asked)
    assert refused.value.param == param


async def test_pictures_are_not_streamed(server: Live) -> None:
    async with server.client() as client:
        with pytest.raises(BadRequestError) as refused:
            await client.images.generate(model=MODEL, prompt="a cat", stream=True)
    assert refused.value.param == "stream"


async def test_a_batch_of_pictures_comes_back_whole(server: Live) -> None:
    lines = [
        a_line("small", size="64x64", seed=1),
        a_line("wide", size="128x64", seed=1),
        a_line("same", size="64x64", seed=1),
        a_line("two", n=2),
        a_line("odd", size="60x60"),
    ]
    async with server.client() as client:
        batch = await ended(client, (await create(client, jsonl(*lines), endpoint=IMAGES)).id)
        output = await lines_of(client, batch.output_file_id)
        errors = await lines_of(client, batch.error_file_id)
    assert (batch.status, batch.endpoint) == ("completed", IMAGES)
    made = {id: line["response"]["body"]["data"] for id, line in output.items()}
    assert {id: [decoded(entry).size for entry in data] for id, data in made.items()} == {
        "small": [(64, 64)],
        "wide": [(128, 64)],
        "same": [(64, 64)],
        "two": [(64, 64), (64, 64)],
    }
    assert made["small"] == made["same"]
    assert errors["odd"]["response"]["body"]["error"]["param"] == "size"


async def test_a_line_that_wants_addresses_fails_the_batch_with_the_remedy(server: Live) -> None:
    async with server.client() as client:
        lines = jsonl(a_line("good"), a_line("bad", response_format="url"))
        batch = await ended(client, (await create(client, lines, endpoint=IMAGES)).id)
    assert batch.status == "failed"
    [error] = (batch.errors.data if batch.errors else None) or []
    assert (error.line, error.param) == (2, "body.response_format")
    assert "b64_json" in (error.message or "")


async def test_a_batch_of_pictures_for_a_model_of_words_fails() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        batch = await ended(client, (await create(client, jsonl(a_line("a")), endpoint=IMAGES)).id)
    assert batch.status == "failed"
    assert [error.code for error in (batch.errors.data if batch.errors else None) or []] == ["model_not_found"]


async def test_the_document_tells_of_pictures(server: Live) -> None:
    status, document = await server.json("GET", "/openapi.json")
    operation = document["paths"]["/images/generations"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert status == 200 and schema["required"] == ["model", "prompt"]
    assert {"n", "size", "seed"} <= schema["properties"].keys() and json.dumps(operation)
