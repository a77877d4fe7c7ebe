"""Contents in pieces, by the official Gemini client and by bare HTTP."""

# The client names types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import asyncio
from typing import Any

import msgspec
import pytest
from google.genai import errors, types

from batchyard.domain.result import Failure, Fault
from tests.support.genai import Asked, client_of, talking, telling
from tests.support.serving import MODEL, Live, live

BODY = msgspec.json.encode({"contents": [{"parts": [{"text": "one two three"}]}]})
PATH = f"/v1beta/models/{MODEL}:streamGenerateContent"


async def heard(tell: Any, **config: Any) -> list[types.GenerateContentResponse]:
    async with live(telling=tell) as server, talking(server) as client:
        stream = await client.models.generate_content_stream(
            model=MODEL, contents="hi", config=types.GenerateContentConfig(**config)
        )
        return [piece async for piece in stream]


def parts_of(pieces: list[types.GenerateContentResponse]) -> list[types.Part]:
    return [part for piece in pieces for part in piece.parts or []]


async def test_words_come_one_by_one_and_the_reason_and_the_tokens_last(server: Live) -> None:
    async with talking(server) as client:
        stream = await client.models.generate_content_stream(model=MODEL, contents="one two three")
        pieces = [piece async for piece in stream]
    assert [piece.text for piece in pieces] == ["one", " two", " three", ""]
    reasons = [(piece.candidates or [])[0].finish_reason for piece in pieces]
    assert reasons == [None, None, None, types.FinishReason.STOP]
    usage = pieces[-1].usage_metadata
    assert usage is not None and usage.total_token_count == 6
    assert len({piece.response_id for piece in pieces}) == 1


async def test_the_sync_client_streams_too(server: Live) -> None:
    def talk() -> list[str | None]:
        with client_of(server) as client:
            return [piece.text for piece in client.models.generate_content_stream(model=MODEL, contents="one two")]

    assert await asyncio.to_thread(talk) == ["one", " two", ""]


@pytest.mark.parametrize("wanted", [True, False])
async def test_thoughts_are_told_to_those_who_ask(wanted: bool) -> None:
    thoughts = [{"reasoning_content": words} for words in ("Hm. ", "So.")]
    tell = telling({"role": "assistant"}, *thoughts, {"content": "Yes"})
    parts = parts_of(await heard(tell, thinking_config=types.ThinkingConfig(include_thoughts=wanted)))
    assert "".join(part.text or "" for part in parts if part.thought) == ("Hm. So." if wanted else "")
    assert "".join(part.text or "" for part in parts if not part.thought) == "Yes"


async def test_a_functions_call_comes_whole() -> None:
    begin = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    bits = [{"index": 0, "function": {"arguments": bit}} for bit in ('{"ci', 'ty": "Os', 'lo"}')]
    tell = telling({"tool_calls": [begin]}, *({"tool_calls": [bit]} for bit in bits), finish="tool_calls")
    (piece,) = await heard(tell)
    (call,) = piece.function_calls or []
    assert (call.id, call.name, call.args) == ("c1", "weather", {"city": "Oslo"})
    assert (piece.candidates or [])[0].finish_reason is types.FinishReason.STOP


async def test_arguments_that_are_no_json_are_a_malformed_call() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"ci'}}
    (piece,) = await heard(telling({"tool_calls": [call]}))
    assert (piece.candidates or [])[0].finish_reason is types.FinishReason.MALFORMED_FUNCTION_CALL


async def test_an_enum_is_told_without_its_quotes() -> None:
    schema = {"type": "STRING", "enum": ["yes", "no"]}
    pieces = await heard(
        telling({"content": '"y'}, {"content": 'es"'}), response_mime_type="text/x.enum", response_schema=schema
    )
    assert [piece.text for piece in pieces] == ["yes"]


async def test_an_engine_that_answers_whole_is_told_as_one_piece() -> None:
    async with live(script=Asked()) as server, talking(server) as client:
        pieces = [piece async for piece in await client.models.generate_content_stream(model=MODEL, contents="hi")]
    assert [piece.text for piece in pieces] == ["Hello."]


async def test_what_breaks_off_ends_with_its_error() -> None:
    tell = telling({"content": "Half"}, ends=Failure("connection_lost", "The engine is gone.", Fault.LOST))
    texts: list[str | None] = []
    async with live(telling=tell) as server, talking(server) as client:
        stream = await client.models.generate_content_stream(model=MODEL, contents="hi")
        with pytest.raises(errors.ServerError) as caught:
            async for piece in stream:
                texts.append(piece.text)
    assert texts == ["Half"]
    assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")
    assert "The engine is gone." in str(caught.value)


async def test_what_fails_before_its_first_piece_has_its_own_status() -> None:
    lost = Failure("request_timeout", "Too late.", Fault.LOST)
    async with live(telling=telling(ends=lost)) as server:
        status, _, answer = await server.call("POST", PATH + "?alt=sse", BODY)
    assert (status, msgspec.json.decode(answer)["error"]["status"]) == (504, "DEADLINE_EXCEEDED")


async def test_without_events_the_pieces_are_one_json_array(server: Live) -> None:
    status, headers, answer = await server.call("POST", PATH, BODY, {"connection": "close"})
    pieces = msgspec.json.decode(_unchunked(headers, answer))
    words = [piece["candidates"][0]["content"]["parts"][0]["text"] for piece in pieces]
    assert (status, headers["content-type"]) == (200, "application/json")
    assert words == ["one", " two", " three", ""]


async def test_an_array_that_breaks_off_is_still_json() -> None:
    tell = telling({"content": "Half"}, ends=Failure("connection_lost", "Gone.", Fault.LOST))
    async with live(telling=tell) as server:
        _, headers, answer = await server.call("POST", PATH, BODY, {"connection": "close"})
    assert [next(iter(piece)) for piece in msgspec.json.decode(_unchunked(headers, answer))] == ["candidates", "error"]


def _unchunked(headers: dict[str, str], body: bytes) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole
