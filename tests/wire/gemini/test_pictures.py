"""Pictures by the official Gemini client: made by a real pipeline, or found in what an engine's chat shows."""

# The client names types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.genai import errors, types

from tests.support.embedded import open_openvino
from tests.support.genai import Asked, client_of, talking, telling
from tests.support.made_pictures import opened
from tests.support.serving import MODEL, Live, live
from tests.wire.gemini.test_batches import WALKS, ended

CHATS = frozenset({"/v1/chat/completions"})
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SHOWN = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")


@pytest.fixture
async def server(painter: Path) -> AsyncIterator[Live]:
    engine = open_openvino(painter)
    abilities = await engine.start()
    async with live(script=engine.infer, endpoints=abilities.endpoints, walks=WALKS) as server:
        yield server
    await engine.close()


async def made(server: Live, contents: Any = "a cat", **config: Any) -> types.GenerateContentResponse:
    wanted = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"], **config)
    async with talking(server) as client:
        return await client.models.generate_content(model=MODEL, contents=contents, config=wanted)


def inline(answer: types.GenerateContentResponse) -> list[types.Blob]:
    candidates = answer.candidates or []
    parts = [part for each in candidates for part in (each.content and each.content.parts) or []]
    return [part.inline_data for part in parts if part.inline_data is not None]


def reasons(answer: types.GenerateContentResponse) -> list[types.FinishReason | None]:
    return [each.finish_reason for each in answer.candidates or []]


async def test_a_picture_is_a_part_of_the_answer(server: Live) -> None:
    answer = await made(server)
    [blob] = inline(answer)
    assert blob.mime_type == "image/png"
    assert opened(blob.data or b"").size == (64, 64)
    assert reasons(answer) == [types.FinishReason.STOP] and answer.model_version == MODEL


async def test_the_ratio_and_the_seed_are_heeded(server: Live) -> None:
    image = types.ImageConfig(aspect_ratio="2:1", image_size="512")
    first, again = [inline(await made(server, image_config=image, seed=3))[0].data for _ in range(2)]
    other = inline(await made(server, image_config=image, seed=4))[0].data
    assert first == again != other
    assert opened(first or b"").size == (512, 256)


async def test_several_candidates_are_several_pictures(server: Live) -> None:
    answer = await made(server, candidate_count=2)
    assert len(answer.candidates or []) == len(inline(answer)) == 2


async def test_a_stream_has_the_picture_in_one_piece(server: Live) -> None:
    wanted = types.GenerateContentConfig(response_modalities=["IMAGE"])
    async with talking(server) as client:
        stream = await client.models.generate_content_stream(model=MODEL, contents="a cat", config=wanted)
        pieces = [piece async for piece in stream]
    assert [opened(blob.data or b"").size for piece in pieces for blob in inline(piece)] == [(64, 64)]


async def test_the_sync_client_gets_pictures_too(server: Live) -> None:
    def ask() -> types.GenerateContentResponse:
        wanted = types.GenerateContentConfig(response_modalities=["IMAGE"])
        with client_of(server) as client:
            return client.models.generate_content(model=MODEL, contents="a cat", config=wanted)

    assert len(inline(await asyncio.to_thread(ask))) == 1


async def test_models_that_make_pictures_are_listed_as_able(server: Live) -> None:
    async with talking(server) as client:
        model = await client.models.get(model=MODEL)
    assert {"generateContent", "batchGenerateContent"} <= set(model.supported_actions or [])


async def test_a_size_that_the_model_cannot_make_is_told_by_name(server: Live) -> None:
    with pytest.raises(errors.ClientError) as refused:
        await made(server, image_config=types.ImageConfig(image_size="4K"))
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    assert "size" in (refused.value.message or "")


async def test_words_alone_are_refused_by_a_model_of_pictures(server: Live) -> None:
    async with talking(server) as client:
        with pytest.raises(errors.ClientError) as refused:
            await client.models.generate_content(model=MODEL, contents="hi")
    assert refused.value.status == "INVALID_ARGUMENT"


# Batches


def asking(text: str = "a cat", *, pictures: bool = True) -> dict[str, Any]:
    wanted = {"response_modalities": ["TEXT", "IMAGE"], "seed": 1} if pictures else {}
    return {"contents": text, "config": wanted}


async def answered(server: Live, src: list[Any]) -> list[types.InlinedResponse]:
    async with talking(server) as client:
        job = await client.batches.create(model=MODEL, src=src)
        done = await ended(client, job)
    assert done.state is types.JobState.JOB_STATE_SUCCEEDED and done.dest is not None
    return done.dest.inlined_responses or []


async def test_a_batch_of_pictures_is_answered_row_by_row(server: Live) -> None:
    cat, again, words = await answered(server, [asking(), asking(), asking("hi", pictures=False)])
    assert cat.response is not None and again.response is not None
    [first], [second] = inline(cat.response), inline(again.response)
    assert first.data == second.data and opened(first.data or b"").size == (64, 64)
    assert words.error is not None and words.error.code == 3
    assert "/v1/chat/completions" in (words.error.message or "")


async def test_a_row_that_wants_a_picture_of_a_model_of_words_is_an_error_of_its_own() -> None:
    engine = open_openvino()
    abilities = await engine.start()
    async with live(script=engine.infer, endpoints=abilities.endpoints, walks=WALKS) as server:
        showing = {**asking(), "contents": ["Make it blue", SHOWN]}
        cat, blue, words = await answered(server, [asking(), showing, asking("What is 3 + 4?", pictures=False)])
    await engine.close()
    assert cat.error is not None and cat.error.code == 3 and "/v1/images/generations" in (cat.error.message or "")
    assert blue.error is not None and blue.error.code == 3 and "no pictures" in (blue.error.message or "")
    assert words.response is not None and words.response.text == "7"


# A chat that shows pictures


async def test_a_picture_that_is_shown_is_asked_of_in_a_chat_and_comes_back_beside_words() -> None:
    engine = Asked({"content": "Blue.", "images": [PICTURE]})
    async with live(script=engine, endpoints=CHATS) as server:
        answer = await made(server, ["Make it blue", SHOWN])
    assert engine.body["modalities"] == ["image", "text"]
    assert answer.text == "Blue." and [blob.data for blob in inline(answer)] == [base64.b64decode("AAAA")]
    assert reasons(answer) == [types.FinishReason.STOP]


async def test_a_chat_that_shows_no_picture_says_so() -> None:
    async with live(script=Asked(), endpoints=CHATS) as server:
        answer = await made(server, ["Make it blue", SHOWN])
    assert reasons(answer) == [types.FinishReason.NO_IMAGE] and answer.text == "Hello."


@pytest.mark.parametrize("images", [[PICTURE], []])
async def test_pictures_of_a_chat_come_while_it_goes_on(images: list[Any]) -> None:
    tell = telling({"content": "Here."}, {"images": images})
    wanted = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
    async with live(telling=tell, endpoints=CHATS) as server, talking(server) as client:
        stream = await client.models.generate_content_stream(model=MODEL, contents=["Blue", SHOWN], config=wanted)
        pieces = [piece async for piece in stream]
    assert sum(len(inline(piece)) for piece in pieces) == len(images)
    reason = types.FinishReason.STOP if images else types.FinishReason.NO_IMAGE
    assert reasons(pieces[-1]) == [reason]
