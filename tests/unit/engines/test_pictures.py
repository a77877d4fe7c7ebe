"""The openvino engine with a pipeline that makes pictures."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from batchyard.domain.errors import Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Failure, Fault
from batchyard.workers.engine import WorkerEngine
from tests.support.embedded import a_chat, a_request, open_openvino, refused, told
from tests.support.made_pictures import decoded
from tests.support.streams import hear
from tests.support.tiny_painter import SIDE

IMAGES = "/v1/images/generations"


@pytest.fixture
async def engine(painter: Path) -> AsyncIterator[WorkerEngine]:
    engine = open_openvino(painter)
    await engine.start()
    yield engine
    await engine.close()


def asking(prompt: str = "a cat", **body: Any) -> Request:
    asked: dict[str, Any] = {"prompt": prompt, "num_inference_steps": 2, **body}
    return a_request(IMAGES, **asked)


async def made(engine: WorkerEngine, prompt: str = "a cat", **body: Any) -> list[str]:
    """The pictures of an answer, in base64."""
    return [entry["b64_json"] for entry in told(await engine.infer(asking(prompt, **body)))["data"]]


async def test_it_says_that_it_makes_pictures_one_at_a_time(painter: Path) -> None:
    engine = open_openvino(painter)
    abilities = await engine.start()
    await engine.close()
    assert (abilities.endpoints, abilities.slots) == (frozenset({IMAGES}), 1)
    assert painter.name in abilities.description


@pytest.mark.parametrize("size", ["64x64", "64x128", "200x8"])
async def test_a_picture_is_a_whole_png_of_the_size_that_was_asked(engine: WorkerEngine, size: str) -> None:
    answer = told(await engine.infer(asking(size=size)))
    picture = decoded(answer["data"][0])
    assert "{}x{}".format(*picture.size) == size
    assert (picture.mode, answer["output_format"]) == ("RGB", "png")
    assert len(picture.getcolors(1 << 20) or []) > 50, "it is not one colour"


async def test_without_a_size_the_model_chooses(engine: WorkerEngine) -> None:
    for chosen in ({}, {"size": "auto"}):
        [entry] = told(await engine.infer(asking(**chosen)))["data"]
        assert decoded(entry).size == (SIDE, SIDE)


@pytest.mark.parametrize(("form", "written"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
async def test_other_formats_are_written_where_they_are_asked(engine: WorkerEngine, form: str, written: str) -> None:
    answer = told(await engine.infer(asking(output_format=form, output_compression=50)))
    assert decoded(answer["data"][0], written).size == (SIDE, SIDE)
    assert answer["output_format"] == form


async def test_an_equal_seed_makes_the_same_bytes_and_another_one_does_not(engine: WorkerEngine) -> None:
    first = await made(engine, seed=1)
    assert await made(engine, seed=1) == first
    assert await made(engine, seed=2) != first
    assert await made(engine) != await made(engine)


async def test_every_worker_makes_the_same_bytes_of_a_seed(engine: WorkerEngine, painter: Path) -> None:
    other = open_openvino(painter)
    await other.start()
    assert await made(other, seed=5) == await made(engine, seed=5)
    await other.close()


async def test_words_and_settings_change_the_picture(engine: WorkerEngine) -> None:
    pictures = [
        await made(engine, seed=1),
        await made(engine, "a dog in the fog", seed=1),
        await made(engine, seed=1, negative_prompt="blurred"),
        await made(engine, seed=1, guidance_scale=2),
        await made(engine, seed=1, num_inference_steps=3),
    ]
    assert len({each[0] for each in pictures}) == len(pictures)


async def test_the_second_picture_of_a_seed_is_the_first_of_the_next(engine: WorkerEngine) -> None:
    three = await made(engine, seed=1, n=3)
    assert len(set(three)) == 3
    assert three[1:] == await made(engine, seed=2, n=2)


async def test_a_prompt_that_is_too_long_for_the_model_is_cut_as_the_model_does(engine: WorkerEngine) -> None:
    assert len(await made(engine, "cat " * 20_000)) == 1
    assert len(await made(engine, "")) == 1


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("size", {"size": "60x64"}),
        ("size", {"size": "4096x4096"}),
        ("num_inference_steps", {"num_inference_steps": 0}),
        ("n", {"n": 11}),
        ("response_format", {"response_format": "url"}),
        ("seed", {"seed": "x"}),
    ],
)
async def test_what_it_cannot_make_is_refused_by_name_and_the_next_is_made(
    engine: WorkerEngine, param: str, body: dict[str, Any]
) -> None:
    assert refused(await engine.infer(asking(**body)))["param"] == param
    assert len(await made(engine)) == 1


async def test_what_the_pipeline_itself_refuses_is_told_without_its_insides(engine: WorkerEngine) -> None:
    error = refused(await engine.infer(asking(guidance_scale=0.5, negative_prompt="dogs")))
    assert "ignores negative prompt" in error["message"]
    assert ".cpp" not in error["message"] and "/" not in error["message"]


async def test_a_chat_is_refused_by_a_model_of_pictures(engine: WorkerEngine) -> None:
    assert refused(await engine.infer(a_chat()))["code"] == "unsupported_endpoint"


async def test_a_picture_is_refused_by_a_model_of_words() -> None:
    engine = open_openvino()
    await engine.start()
    assert refused(await engine.infer(asking()))["code"] == "unsupported_endpoint"
    assert refused(await engine.infer(a_chat(modalities=["image", "text"])))["param"] == "modalities"
    assert told(await engine.infer(a_chat(modalities=["text"])))
    await engine.close()


async def test_who_gives_up_makes_room_for_the_next(engine: WorkerEngine) -> None:
    async with asyncio.TaskGroup() as group:
        long = [
            group.create_task(engine.infer(asking(size="2048x2048", n=10, num_inference_steps=200))) for _ in range(3)
        ]
        await engine.infer(asking(size="1x1"))  # refused at once: the others have reached the worker
        for task in long:
            task.cancel()
    assert len(await made(engine)) == 1


async def test_a_worker_that_is_killed_is_replaced(engine: WorkerEngine) -> None:
    async with asyncio.TaskGroup() as group:
        long = group.create_task(engine.infer(asking(size="2048x2048", num_inference_steps=200)))
        await engine.infer(asking(size="1x1"))
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
    failure = long.result()
    assert isinstance(failure, Failure) and failure.fault is Fault.CRASHED
    assert len(await made(engine)) == 1 and engine.restarts == 1


async def test_a_stream_of_pictures_comes_whole(engine: WorkerEngine) -> None:
    pieces, reply = await hear(engine, asking())
    assert pieces == [] and len(told(reply)["data"]) == 1


async def test_a_pipeline_that_does_not_load_is_told_with_a_remedy(tmp_path: Path, painter: Path) -> None:
    broken = Path(shutil.copytree(painter, tmp_path / "broken", ignore=shutil.ignore_patterns("*.bin")))
    engine = open_openvino(broken)
    with pytest.raises(Unavailable, match="cannot load") as failed:
        await engine.start()
    await engine.close()
    assert "optimum" in failed.value.remedy
