"""Streams as the official clients read them: while they are made, to their end, or until they break off."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvicorn
from openai import APIError, AsyncOpenAI, InternalServerError
from openai.types.chat import ChatCompletionMessageParam
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from batchyard.clock import SystemClock
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.endpoints.responses import AS_CHAT
from batchyard.engine import Engine, Say
from batchyard.engines import echo, http
from batchyard.pipeline.share import Sharing
from batchyard.pipeline.translate import Translating
from batchyard.server.listen import bind
from batchyard.server.models import Model
from tests.support.serving import MODEL, Live, live
from tests.support.telling import END, USAGE, Halting, piece
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, jsonl

SAY: list[ChatCompletionMessageParam] = [{"role": "user", "content": "say this, and that"}]
TEXT = "say this, and that"
CRASH = Failure("engine_crashed", "It died.", Fault.CRASHED)


@asynccontextmanager
async def translated(telling: echo.Telling | None = None) -> AsyncGenerator[Live]:
    """A server whose model only knows chats, and answers responses all the same."""
    async with live() as server:
        await add_model(server, "m", Translating(echo.open(echo.Config(telling=telling)), AS_CHAT))
        yield server


async def add_model(server: Live, name: str, engine: Engine, engine_name: str | None = None) -> None:
    sharing = Sharing(engine, await engine.start(), SystemClock(), model=engine_name or name)
    server.house.models.add(Model(name, sharing.front(), sharing.abilities, engine_name=engine_name))


def of(model: str = MODEL) -> dict[str, Any]:
    return {"model": model, "messages": SAY}


async def test_the_first_words_come_while_the_rest_is_made() -> None:
    telling = Halting()
    async with live(telling=telling) as server, server.client() as client:
        stream = await client.chat.completions.create(**of(), stream=True)
        first = await anext(stream)
        assert first.choices[0].delta.content == "one" and not telling.go_on.is_set()
        telling.go_on.set()
        rest = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in rest) == " two"
    assert rest[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_usage_is_told_last_and_only_where_it_is_wanted(wanted: bool) -> None:
    async with live() as server, server.client() as client:
        options: Any = {"stream_options": {"include_usage": True}} if wanted else {}
        chunks = [chunk async for chunk in await client.chat.completions.create(**of(), stream=True, **options)]
    assert [chunk.usage is not None for chunk in chunks[:-1]] == [False] * (len(chunks) - 1)
    assert (chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 8) is wanted
    assert ("usage" in chunks[0].model_fields_set) is wanted


async def test_the_clients_own_accumulators_take_every_stream() -> None:
    async with translated() as server, server.client() as client:
        async with client.chat.completions.stream(**of("m")) as chat:
            assert (await chat.get_final_completion()).choices[0].message.content == TEXT
        async with client.responses.stream(model="m", input=TEXT) as response:
            events = [event async for event in response]
            final = await response.get_final_response()
        whole = await client.responses.create(model="m", input=TEXT)
    assert final.output_text == whole.output_text == TEXT
    assert final.usage == whole.usage
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_a_response_is_told_in_its_order_of_events() -> None:
    async with translated() as server, server.client() as client:
        events = [event async for event in await client.responses.create(model="m", input=TEXT, stream=True)]
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    assert deltas == 4
    assert kinds == [
        "created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * deltas,
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip


async def test_the_sync_client_and_azures_take_streams_too() -> None:
    def talk(server: Live) -> list[str]:
        heard: list[str] = []
        for client in (server.sync_client(), server.sync_azure(), server.sync_client("/openai/v1/")):
            with client:
                chunks = list(client.chat.completions.create(**of("m"), stream=True))
                heard.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
                with client.chat.completions.stream(**of("m")) as chat:
                    heard.append(chat.get_final_completion().choices[0].message.content or "")
        with server.sync_client() as client, client.responses.stream(model="m", input=TEXT) as response:
            heard.append(response.get_final_response().output_text)
        return heard

    async with translated() as server:
        assert await asyncio.to_thread(talk, server) == [TEXT] * 7
        async with server.azure() as client:
            stream = await client.chat.completions.create(**of("m"), stream=True)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == TEXT


async def test_what_goes_wrong_before_the_first_word_has_its_status() -> None:
    async def fails(request: Request, say: Say) -> Reply:
        return Failure("engine_down", "It is away.", Fault.DOWN)

    async with live(telling=fails) as server, server.client() as client:
        with pytest.raises(InternalServerError) as caught:
            await client.chat.completions.create(**of(), stream=True)
    assert (caught.value.status_code, caught.value.code) == (503, "engine_down")


BROKEN: dict[str, tuple[Reply, str, str]] = {
    "the engine died": (CRASH, "engine_crashed", "It died."),
    "the engine says no": (Answer(500, b'{"error":{"message":"no","code":"odd"}}'), "odd", "no"),
    "it refuses our key": (Answer(401, b'{"error":{"message":"sk-ours"}}'), "upstream_refused", "credentials"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_what_breaks_in_the_middle_is_raised_by_the_client(how: str) -> None:
    reply, code, message = BROKEN[how]
    telling = Halting(reply)
    telling.go_on.set()
    async with translated(telling) as server, server.client() as client:
        heard: list[str] = []
        with pytest.raises(APIError, match=message) as caught:
            async for chunk in await client.chat.completions.create(**of("m"), stream=True):
                heard.append(chunk.choices[0].delta.content or "")
        with pytest.raises(APIError, match=message):
            async for event in await client.responses.create(model="m", input="x", stream=True):
                heard.append(event.type)
    assert heard[0] == "one" and heard[-1] == "response.output_text.delta"
    assert caught.value.code == code and telling.asked == 2, "what was begun is never asked again"


async def test_a_request_that_died_unheard_is_asked_once_more() -> None:
    asked = 0

    async def dies_once(request: Request, say: Say) -> Reply | None:
        nonlocal asked
        asked += 1
        return CRASH if asked == 1 else None

    async def dies(request: Request, say: Say) -> Reply | None:
        nonlocal asked
        asked += 1
        return CRASH

    async with live(telling=dies_once) as server, server.client() as client:
        chunks = [chunk async for chunk in await client.chat.completions.create(**of(), stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT and asked == 2
    asked = 0
    async with live(telling=dies) as server, server.client() as client:
        with pytest.raises(InternalServerError):
            await client.chat.completions.create(**of(), stream=True)
    assert asked == 2


async def test_a_caller_who_hangs_up_in_the_middle_frees_the_engine() -> None:
    telling = Halting()
    async with live(telling=telling) as server, server.client() as client:
        stream = await client.chat.completions.create(**of(), stream=True)
        await anext(stream)
        assert server.house.interactive.inflight == 1
        await stream.close()
        await telling.given_up.wait()
        telling.go_on.set()
        async with client.chat.completions.stream(**of()) as chat:
            assert (await chat.get_final_completion()).choices[0].message.content == "one two"
        assert server.house.interactive.inflight == 0


async def test_an_engines_own_name_for_a_model_is_not_told() -> None:
    telling = Halting()
    telling.go_on.set()
    async with live() as server, server.client() as client:
        await add_model(server, "ours", echo.open(echo.Config(telling=telling)), "theirs")
        chunks = [chunk async for chunk in await client.chat.completions.create(**of("ours"), stream=True)]
    assert {chunk.model for chunk in chunks} == {"ours"}


async def test_a_stream_under_way_when_the_server_stops_may_end() -> None:
    telling = Halting()
    async with live(telling=telling) as server, server.client() as client:
        stream = await client.chat.completions.create(**of(), stream=True)
        await anext(stream)
        server.stop.set()
        telling.go_on.set()
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_stream_that_outlives_the_servers_time_ends_with_an_error() -> None:
    telling = Halting()
    async with live(telling=telling, grace_seconds=0) as server, server.client() as client:
        stream = await client.chat.completions.create(**of(), stream=True)
        await anext(stream)
        server.stop.set()
        with pytest.raises(APIError, match="stopped") as caught:
            async for _ in stream:
                pass
    assert caught.value.code == "server_stopped"
    assert telling.given_up.is_set()


async def test_thirty_two_streams_are_told_side_by_side() -> None:
    all_begun, begun = asyncio.Event(), 0

    async def telling(request: Request, say: Say) -> Reply:
        nonlocal begun
        text = msgspec.json.decode(request.body)["messages"][0]["content"]
        await say(piece(text))
        begun += 1
        if begun == 32:
            all_begun.set()
        await all_begun.wait()
        await say(piece(" ends", "stop"))
        await say(USAGE)
        return END

    async def hear(client: AsyncOpenAI, text: str) -> str:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": text}]
        stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with live(telling=telling) as server, server.client() as client:
        heard = await asyncio.gather(*(hear(client, f"text {n}") for n in range(32)))
    assert heard == [f"text {n} ends" for n in range(32)]


async def test_a_stream_begins_at_once_while_a_batch_fills_the_engine() -> None:
    gate = Gate()
    async with live(script=gate, slots=2, walks=WALKS) as server, server.client() as client:
        await create(client, jsonl(*(a_line(f"r{n}", f"slow {n}") for n in range(20))))
        await gate.came.wait()
        async with client.chat.completions.stream(**of()) as chat:
            assert (await chat.get_final_completion()).choices[0].message.content == TEXT
        assert not gate.open.is_set() and gate.asked < 20
        gate.open.set()


# Upstreams


async def test_another_batchyard_is_an_upstream_that_streams() -> None:
    telling = Halting()
    async with live(telling=telling) as far, live() as near, near.client() as client:
        engine = http.open(http.Config(urls=(far.url,), api_key=far.secret))
        await add_model(near, "far", engine, MODEL)
        stream = await client.chat.completions.create(**of("far"), stream=True, stream_options={"include_usage": True})
        first = await anext(stream)
        assert (first.choices[0].delta.content, first.model) == ("one", "far")
        telling.go_on.set()
        rest = [chunk async for chunk in stream]
        assert rest[-1].usage is not None and rest[-1].usage.total_tokens == 5
        telling.go_on.clear()
        stream = await client.chat.completions.create(**of("far"), stream=True)
        await anext(stream)
        await stream.close()
        await telling.given_up.wait()
        await engine.close()


async def test_the_responses_of_an_upstream_are_passed_on() -> None:
    async with translated() as far, live() as near, near.client() as client:
        engine = http.open(http.Config(urls=(far.url,), api_key=far.secret))
        await add_model(near, "far", engine, "m")
        async with client.responses.stream(model="far", input=TEXT) as response:
            final = await response.get_final_response()
        await engine.close()
    assert final.output_text == TEXT and final.usage is not None and final.usage.total_tokens == 8


@asynccontextmanager
async def uvicorned(app: Starlette) -> AsyncGenerator[str]:
    sock = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[sock]))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True


async def test_a_server_of_another_make_is_told_as_it_answers_whole() -> None:
    words = ["Grüße", ", ", "Zürich", " 😀"]

    async def chat(request: HttpRequest) -> Response:
        if not (await request.json()).get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            choices: Any = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return JSONResponse(
                {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
            )

        async def events() -> AsyncGenerator[bytes]:
            for word in words:
                yield b"data: " + piece(word) + b"\n\n"
            yield b"data: " + piece(why="stop") + b"\n\ndata: " + USAGE + b"\n\ndata: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    async with uvicorned(app) as url, live() as server, server.client() as client:
        engine = http.open(http.Config(urls=(url,)))
        await add_model(server, "m", engine)
        whole = await client.chat.completions.create(model="m", messages=SAY)
        stream = await client.chat.completions.create(**of("m"), stream=True)
        told = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        await engine.close()
    assert told == whole.choices[0].message.content == "".join(words)
