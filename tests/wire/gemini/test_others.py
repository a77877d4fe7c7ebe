"""Embeddings, counted tokens and models by the official Gemini client; and how its wire is told from OpenAI's."""

# The client names types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import logging
from typing import Any

import msgspec
import pytest
from google.genai import errors
from openai import AsyncOpenAI

from batchyard.domain.access import ModelLimits
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from tests.support.genai import details_of, talking
from tests.support.serving import MODEL, Live, live


async def vectors(request: Request) -> Reply | None:
    """Embeds a text as its length and the numbers after it, the last first, so that order must come from the index."""
    given: Any = msgspec.json.decode(request.body)["input"]
    data = [{"index": n, "embedding": [len(text) + 0.5, 1.0, 2.0]} for n, text in enumerate(given)]
    return Answer(200, msgspec.json.encode({"data": data[::-1], "usage": {"prompt_tokens": 2}}))


# Embeddings


async def test_texts_are_embedded_in_their_order() -> None:
    async with live(script=vectors) as server, talking(server) as client:
        answer = await client.models.embed_content(model=MODEL, contents=["a", "abc"])
    assert [each.values for each in answer.embeddings or []] == [[1.5, 1.0, 2.0], [3.5, 1.0, 2.0]]


async def test_a_vector_is_as_long_as_asked() -> None:
    async with live(script=vectors) as server, talking(server) as client:
        answer = await client.models.embed_content(model=MODEL, contents="a", config={"output_dimensionality": 2})
        with pytest.raises(errors.ClientError) as caught:
            await client.models.embed_content(model=MODEL, contents="a", config={"output_dimensionality": 9})
    assert [each.values for each in answer.embeddings or []] == [[1.5, 1.0]]
    assert "3 values" in (caught.value.message or "")


async def test_one_text_is_embedded() -> None:
    async with live(script=vectors) as server:
        body = {"content": {"parts": [{"text": "ab"}]}, "task_type": "RETRIEVAL_QUERY"}
        status, answer = await server.json("POST", f"/v1/models/{MODEL}:embedContent", body)
    assert (status, answer) == (200, {"embedding": {"values": [2.5, 1.0, 2.0]}})


# Tokens


async def test_tokens_are_estimated(server: Live) -> None:
    async with talking(server) as client:
        short = await client.models.count_tokens(model=MODEL, contents="12345678")
        long = await client.models.count_tokens(model=MODEL, contents=["12345678", "12345678"])
    assert (short.total_tokens, long.total_tokens) == (2, 4)


async def test_a_whole_request_is_counted_with_its_system_instruction(server: Live) -> None:
    request = {
        "model": f"models/{MODEL}",
        "contents": [{"parts": [{"text": "12345678"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}],
        "systemInstruction": {"parts": [{"text": "1234"}]},
    }
    status, answer = await server.json(
        "POST", f"/v1beta/models/{MODEL}:countTokens", {"generateContentRequest": request}
    )
    assert (status, answer["totalTokens"]) == (200, 3 + 258)


# Models


async def test_a_model_is_shown_with_what_it_can_do(server: Live) -> None:
    async with talking(server) as client:
        model = await client.models.get(model=MODEL)
    assert model.name == f"models/{MODEL}"
    chat = ["generateContent", "countTokens", "batchGenerateContent"]
    assert model.supported_actions == [*chat, "embedContent", "batchEmbedContents", "asyncBatchEmbedContent"]


async def test_pages_of_models_bring_each_once() -> None:
    names = ("a", "b", "org/c")
    async with live(names=names) as server, talking(server) as client:
        pager = await client.models.list(config={"page_size": 1})
        seen = [model.name async for model in pager]
    assert seen == [f"models/{name}" for name in names]


async def test_a_strange_page_token_is_refused(server: Live) -> None:
    status, answer = await server.json("GET", "/v1beta/models?pageToken=nothing")
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


# Whose call it is, and who calls


async def test_both_wires_list_models_under_one_path(server: Live) -> None:
    async with talking(server, version="v1") as client:
        theirs = [model.name async for model in await client.models.list()]
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.secret) as client:
        ours = [model.id async for model in client.models.list()]
    assert (theirs, ours) == ([f"models/{MODEL}"], [MODEL])


async def test_a_key_in_the_query_is_taken_and_never_logged(server: Live, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    status, _, answer = await server.call("GET", f"/v1/models?key={server.secret}", headers={"authorization": None})
    assert status == 200 and "models" in msgspec.json.decode(answer)
    assert caplog.records and server.secret not in "".join(str(vars(record)) for record in caplog.records)


async def test_a_call_without_a_key_is_not_allowed(server: Live) -> None:
    status, _, answer = await server.call("GET", "/v1beta/models", headers={"authorization": None})
    error = msgspec.json.decode(answer)["error"]
    assert (status, error["code"], error["status"]) == (403, 403, "PERMISSION_DENIED")


async def test_a_wrong_key_is_a_wrong_argument(server: Live) -> None:
    with pytest.raises(errors.ClientError) as caught:
        async with talking(server, key="wrong") as client:
            await client.models.get(model=MODEL)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert details_of(caught.value)["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("GET", "/v1beta/nothing", 404, "NOT_FOUND"),
        ("GET", f"/v1/models/{MODEL}:generateContent", 405, "UNIMPLEMENTED"),
        ("DELETE", "/v1beta/models", 405, "UNIMPLEMENTED"),
        ("POST", "/v1beta/files", 405, "UNIMPLEMENTED"),
        ("GET", "/upload/v1/files", 405, "UNIMPLEMENTED"),
        ("POST", "/upload/v1beta/models", 404, "NOT_FOUND"),
        ("GET", f"/v1/models/{MODEL}:batchGenerateContent", 405, "UNIMPLEMENTED"),
        ("GET", "/v1beta/cachedContents", 501, "UNIMPLEMENTED"),
        ("DELETE", "/v1beta/batches/b", 404, "NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_told_in_an_envelope(
    server: Live, method: str, path: str, status: int, word: str
) -> None:
    got, answer = await server.json(method, path)
    assert (got, answer["error"]["code"], answer["error"]["status"]) == (status, status, word)


async def test_who_asks_too_much_is_told_how_long_to_wait() -> None:
    async with live(model_limits=ModelLimits(requests_per_minute=1)) as server, talking(server) as client:
        await client.models.generate_content(model=MODEL, contents="hi")
        with pytest.raises(errors.ClientError) as caught:
            await client.models.generate_content(model=MODEL, contents="hi")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert details_of(caught.value)["retryDelay"].endswith("s")
