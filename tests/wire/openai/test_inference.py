"""Interactive calls by the official clients, in strict mode, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError
from openai.types.chat import ChatCompletionMessageParam

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from tests.support.serving import MODEL, Live, live, request_id

SAY: list[ChatCompletionMessageParam] = [{"role": "user", "content": "say this"}]


def answering(body: dict[str, Any], status: int = 200) -> Callable[[Request], Any]:
    """A script that answers everything with one body."""

    async def script(request: Request) -> Reply:
        return Answer(status, msgspec.json.encode(body))

    return script


async def test_chat_is_answered_with_a_request_id(server: Live) -> None:
    async with server.client() as client:
        answer = await client.chat.completions.create(model=MODEL, messages=SAY)
    assert answer.choices[0].message.content == "say this"
    assert (request_id(answer) or "").startswith("req_")


async def test_the_sync_client_works_too(server: Live) -> None:
    def talk() -> str | None:
        with server.sync_client() as client:
            return client.chat.completions.create(model=MODEL, messages=SAY).choices[0].message.content

    assert await asyncio.to_thread(talk) == "say this"


@pytest.mark.parametrize("path", ["/v1", "/", "/openai/v1/"])
async def test_every_base_url_leads_to_the_same_calls(server: Live, path: str) -> None:
    async with server.client(path) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=SAY)
        models = await client.models.list()
    assert answer.choices[0].message.content == "say this"
    assert [model.id for model in models.data] == [MODEL]


async def azure_clients(server: Live) -> AsyncIterator[AsyncAzureOpenAI]:
    yield server.azure()
    yield AsyncAzureOpenAI(
        azure_endpoint=server.url, azure_ad_token=server.secret, api_version="preview", max_retries=0
    )
    yield AsyncAzureOpenAI(
        base_url=server.url + "/openai/v1/", api_key=server.secret, api_version="preview", max_retries=0
    )


async def test_azure_clients_ask_a_deployment(server: Live) -> None:
    async for client in azure_clients(server):
        async with client:
            answer = await client.chat.completions.create(model=MODEL, messages=SAY)
            listed = await client.models.list()
        assert answer.model == MODEL
        assert [model.id for model in listed.data] == [MODEL]


async def test_the_deployment_in_the_path_names_the_model(server: Live) -> None:
    body = msgspec.json.encode({"messages": SAY})
    path = f"/openai/deployments/{MODEL}/chat/completions?api-version=2024-10-21"
    status, _, answer = await server.call("POST", path, body)
    assert (status, msgspec.json.decode(answer)["model"]) == (200, MODEL)


async def test_completions_and_embeddings_are_answered(server: Live) -> None:
    async with server.client() as client:
        text = await client.completions.create(model=MODEL, prompt="one two")
        vectors = await client.embeddings.create(model=MODEL, input=["abc", "abcde"], encoding_format="float")
    assert text.choices[0].text == "one two"
    assert [entry.embedding for entry in vectors.data] == [[3.0], [5.0]]


async def test_a_client_that_unpacks_vectors_gets_the_same_numbers(server: Live) -> None:
    async with AsyncOpenAI(base_url=server.url, api_key=server.secret) as client:  # asks for base64 by itself
        vectors = await client.embeddings.create(model=MODEL, input=["abc", "abcde"])
    assert [entry.embedding for entry in vectors.data] == [[3.0], [5.0]]


async def test_vectors_are_packed_for_clients_that_ask_for_base64(server: Live) -> None:
    body = msgspec.json.encode({"model": MODEL, "input": "abc", "encoding_format": "base64"})
    _, _, answer = await server.call("POST", "/v1/embeddings", body)
    assert msgspec.json.decode(answer)["data"][0]["embedding"] == "AABAQA=="  # 3.0 as little-endian float32


async def test_scores_come_as_the_engine_gave_them() -> None:
    async with live(script=answering({"data": [{"index": 0, "score": 0.5}]})) as server:
        status, _, answer = await server.call("POST", "/v1/score", msgspec.json.encode({"model": MODEL}))
    assert (status, answer) == (200, b'{"data":[{"index":0,"score":0.5}]}')


async def test_an_endpoint_that_the_model_lacks_is_named(server: Live) -> None:
    status, _, answer = await server.call("POST", "/v1/rerank", msgspec.json.encode({"model": MODEL}))
    error = msgspec.json.decode(answer)["error"]
    assert (status, error["param"], error["code"]) == (400, "model", "unsupported")
    assert "/v1/rerank" in error["message"] and "/v1/chat/completions" in error["message"]


async def test_a_streamed_chat_adds_up_to_the_answer(server: Live) -> None:
    async with server.client() as client:
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model=MODEL, messages=SAY, stream=True, stream_options={"include_usage": True}
            )
        ]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "say this"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None, None, "stop"]
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 4


async def test_the_clients_own_stream_accumulator_takes_our_stream(server: Live) -> None:
    async with server.client() as client, client.chat.completions.stream(model=MODEL, messages=SAY) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "say this"


async def test_a_streamed_completion_adds_up_to_the_answer(server: Live) -> None:
    # Not the strict client: it wants a reason for the end in every chunk, which OpenAI does not send either.
    async with AsyncOpenAI(base_url=server.url, api_key=server.secret) as client:
        stream = await client.completions.create(model=MODEL, prompt="one two", stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks) == "one two"
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, "stop"]


async def test_an_engine_never_sees_the_wish_for_a_stream() -> None:
    seen: list[dict[str, Any]] = []

    async def script(request: Request) -> Reply | None:
        seen.append(msgspec.json.decode(request.body))
        return None

    async with live(script=script) as server, server.client() as client:
        async for _ in await client.chat.completions.create(model=MODEL, messages=SAY, stream=True, seed=7):
            pass
    assert seen == [{"model": MODEL, "messages": SAY, "seed": 7}]


RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": MODEL, "status": "completed", "error": None,
    "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
    "tool_choice": "auto", "tools": [], "top_p": 1.0,
    "output": [
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Icy", "annotations": []}]},
        {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
    ],
    "usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
              "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2},
}  # fmt: skip


async def test_a_response_is_answered_whole_and_as_a_stream() -> None:
    async with live(script=answering(RESPONSE)) as server, server.client() as client:
        whole = await client.responses.create(model=MODEL, input="cold?")
        async with client.responses.stream(model=MODEL, input="cold?") as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
    assert whole.output_text == final.output_text == "Icy"
    assert [event.sequence_number for event in events] == sorted({event.sequence_number for event in events})
    assert events[0].type == "response.created" and events[-1].type == "response.completed"


async def test_an_unknown_model_is_a_404_with_a_code(server: Live) -> None:
    async with server.client() as client:
        with pytest.raises(NotFoundError) as caught:
            await client.chat.completions.create(model="nobody", messages=SAY)
        with pytest.raises(NotFoundError):
            await client.models.retrieve("nobody")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.request_id is not None


async def test_a_model_with_a_slash_is_found_in_both_spellings() -> None:
    async with live(names=("org/m",)) as server:
        async with server.client() as client:
            model = await client.models.retrieve("org/m")
        _, _, raw = await server.call("GET", "/v1/models/org/m")
        _, _, encoded = await server.call("GET", "/v1/models/org%2Fm")
    assert model.id == "org/m" and raw == encoded
    assert msgspec.json.decode(raw) == {
        "id": "org/m", "object": "model", "created": 1_790_000_000, "owned_by": "local", "shutdown_date": None,
    }  # fmt: skip


async def test_an_engines_error_reaches_the_caller_unchanged() -> None:
    error = {"message": "too long", "type": "invalid_request_error", "param": "max_tokens", "code": "too_long"}
    async with live(script=answering({"error": error}, 400)) as server, server.client() as client:
        with pytest.raises(BadRequestError) as caught:
            await client.chat.completions.create(model=MODEL, messages=SAY)
    assert caught.value.body == error


async def test_a_refused_upstream_key_is_not_the_callers_fault() -> None:
    said = {"error": {"message": "bad key sk-upstream"}}
    async with live(script=answering(said, 401)) as server, server.client() as client:
        with pytest.raises(InternalServerError) as caught:
            await client.with_options(max_retries=2).chat.completions.create(model=MODEL, messages=SAY)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_refused")
    assert "sk-upstream" not in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_fifty_callers_are_served_at_once() -> None:
    all_here = asyncio.Event()

    async def script(request: Request) -> Reply | None:
        if server.house.interactive.inflight == 50:
            all_here.set()
        await all_here.wait()
        return None

    async with live(script=script) as server, server.client() as client:
        calls = [client.chat.completions.create(model=MODEL, messages=SAY) for _ in range(50)]
        answers = await asyncio.gather(*calls)
    assert len({request_id(answer) for answer in answers}) == 50
    assert server.house.interactive.inflight == 0


async def test_a_chat_without_a_model_says_what_is_missing(server: Live) -> None:
    async with server.client() as client:
        with pytest.raises(BadRequestError) as caught:
            await client.post("/chat/completions", body={"messages": []}, cast_to=object)
    assert (caught.value.code, caught.value.param) == ("missing_required_parameter", "model")


async def test_a_bare_client_needs_no_more_than_its_base_url(server: Live) -> None:
    async with AsyncOpenAI(base_url=server.url, api_key=server.secret) as client:
        assert (await client.models.retrieve(MODEL)).owned_by == "local"
