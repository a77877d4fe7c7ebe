"""Streams of an upstream, over real sockets: what is said on, what ends them, and what ends with them."""

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Usage
from batchyard.engine import stream
from batchyard.transport.http1 import flow
from tests.support.streams import hear, words
from tests.support.upstream import Asked, Move, Talk, Upstream, answer, closes_early, floods, hangs, says
from tests.upstreams.test_engine import a_dead_port, an_engine

CHAT = "/v1/chat/completions"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def a_request(endpoint: str = CHAT) -> Request:
    return Request(0, "id", endpoint, "m", b'{"model":"m","seed":1}')


def chunk(text: str | None = None, *, ended: bool = False, **fields: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": "stop" if ended else None}]
    return b"data: " + msgspec.json.encode({"id": "x", "choices": choices, **fields}) + b"\r\n\r\n"


USAGE = chunk(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})
DONE = b"data: [DONE]\n\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def streams(*events: bytes, cut: int | None = None) -> Move:
    """A whole stream; with `cut` in chunks of so many bytes."""
    data = b"".join(events)
    pieces = list(events) if cut is None else [data[at : at + cut] for at in range(0, len(data), cut)]
    return says(HEAD, *(framed(piece) for piece in pieces), END)


async def test_every_event_is_said_on_and_the_usage_counted() -> None:
    whole = streams(b": ping\n\n", chunk("Zü"), chunk("rich"), chunk(ended=True), USAGE, DONE)
    async with Upstream(whole) as upstream, an_engine(upstream.url) as engine:
        pieces, reply = await hear(engine, a_request())
    assert words(pieces) == "Zürich"
    assert isinstance(reply, Answer) and (reply.body, reply.usage) == (b"", Usage(3, 2))
    asked = upstream.posts[0]
    assert asked.json == {"model": "m", "seed": 1, "stream": True, "stream_options": {"include_usage": True}}
    assert asked.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
async def test_a_letter_may_be_cut_anywhere(cut: int) -> None:
    whole = streams(chunk("Ü€😀"), chunk(ended=True), DONE, cut=cut)
    async with Upstream(whole) as upstream, an_engine(upstream.url) as engine:
        pieces, _ = await hear(engine, a_request())
    assert words(pieces) == "Ü€😀"


async def test_a_piece_is_said_while_the_upstream_still_writes() -> None:
    async with Upstream(hangs(HEAD + framed(chunk("one")))) as upstream, an_engine(upstream.url) as engine:
        heard = asyncio.Event()

        async def say(piece: bytes) -> None:
            heard.set()

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(stream(engine, a_request(), say))
            await heard.wait()
            asking.cancel()


async def test_a_connection_is_kept_after_a_whole_stream() -> None:
    whole = streams(chunk("a"), chunk(ended=True), DONE)
    async with Upstream(whole, whole, whole) as upstream, an_engine(upstream.url) as engine:
        for _ in range(3):
            assert words((await hear(engine, a_request()))[0]) == "a"
        assert upstream.connections == 1


async def test_giving_up_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def endless(asked: Asked, talk: Talk) -> None:
        await talk.say(HEAD + framed(chunk("one")))
        try:
            while True:
                await talk.say(framed(chunk("more")))
                await asyncio.sleep(0)
        except ConnectionError:
            closed.set()

    async with Upstream(endless) as upstream, an_engine(upstream.url) as engine:

        async def say(piece: bytes) -> None:
            raise EOFError

        with pytest.raises(EOFError):
            await stream(engine, a_request(), say)
        await closed.wait()


@pytest.mark.parametrize("last", [b"", b'data: {"id":', framed(chunk("half"))[:20], END])
async def test_an_upstream_that_ends_early_breaks_the_answer_off(last: bytes) -> None:
    async with (
        Upstream(closes_early(HEAD + framed(chunk("one")) + last)) as upstream,
        an_engine(upstream.url) as engine,
    ):
        pieces, reply = await hear(engine, a_request())
    assert words(pieces) == "one"
    assert isinstance(reply, Failure) and reply.fault is Fault.LOST


async def test_an_answer_that_gave_its_reason_needs_no_mark_of_the_end() -> None:
    async with Upstream(streams(chunk("one"), chunk(ended=True), USAGE)) as upstream, an_engine(upstream.url) as engine:
        _, reply = await hear(engine, a_request())
    assert isinstance(reply, Answer) and reply.ok


async def test_with_one_of_two_choices_finished_it_is_not_whole() -> None:
    second = {"index": 1, "delta": {"content": "b"}, "finish_reason": None}
    events = (chunk("a"), chunk(choices=[second]), chunk(ended=True))
    async with Upstream(streams(*events)) as upstream, an_engine(upstream.url) as engine:
        assert isinstance((await hear(engine, a_request()))[1], Failure)


async def test_a_refusal_has_its_status_and_its_words() -> None:
    refusal = answer(b'{"error":{"message":"too long"}}', 400)
    squeezed = answer(
        gzip.compress(b'{"error":{"message":"busy"}}'), 429, {"content_encoding": "gzip", "retry_after": "2"}
    )
    async with Upstream(says(refusal), says(squeezed)) as upstream, an_engine(upstream.url) as engine:
        for status, message in ((400, b"too long"), (429, b"busy")):
            pieces, reply = await hear(engine, a_request())
            assert isinstance(reply, Answer) and (pieces, reply.status) == ([], status)
            assert message in reply.body


@pytest.mark.parametrize("error", [{"message": "no", "code": 503}, {"message": "no", "code": "oops"}])
async def test_an_error_in_the_middle_ends_the_answer(error: dict[str, Any]) -> None:
    told = b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
    async with Upstream(streams(chunk("one"), told, DONE)) as upstream, an_engine(upstream.url) as engine:
        pieces, reply = await hear(engine, a_request())
    assert words(pieces) == "one"
    assert isinstance(reply, Answer) and reply.status == (503 if error["code"] == 503 else 500)
    assert msgspec.json.decode(reply.body)["error"] == error


async def test_an_upstream_that_knows_no_streams_answers_whole() -> None:
    async with Upstream(says(answer(b'{"choices":[]}'))) as upstream, an_engine(upstream.url) as engine:
        pieces, reply = await hear(engine, a_request())
    assert isinstance(reply, Answer) and (pieces, reply.body) == ([], b'{"choices":[]}')


@pytest.mark.parametrize("event", [b"data: what?\n\n", b"data: 7\n\n", b"data: \xff\n\n", b'data: {"choices": 7}\n\n'])
async def test_what_cannot_be_read_breaks_the_answer_off(event: bytes) -> None:
    async with Upstream(streams(chunk("one"), event, DONE)) as upstream, an_engine(upstream.url) as engine:
        _, reply = await hear(engine, a_request())
    assert isinstance(reply, Failure) and (reply.code, reply.fault) == ("bad_answer", Fault.LOST)


async def test_a_response_ends_with_its_own_event() -> None:
    events: list[dict[str, Any]] = [{"type": "response.created", "sequence_number": 0}]
    usage = {"input_tokens": 4, "output_tokens": 1}
    events.append({"type": "response.completed", "sequence_number": 1, "response": {"usage": usage}})
    told = [b"event: x\ndata: " + msgspec.json.encode(event) + b"\n\n" for event in events]
    async with Upstream(streams(*told), streams(told[0])) as upstream, an_engine(upstream.url) as engine:
        pieces, reply = await hear(engine, a_request("/v1/responses"))
        assert (pieces, isinstance(reply, Answer) and reply.usage) == (events, Usage(4, 1))
        assert "stream_options" not in upstream.posts[0].json
        assert isinstance((await hear(engine, a_request("/v1/responses")))[1], Failure)


async def test_the_next_upstream_is_asked_where_one_takes_no_connection() -> None:
    whole = streams(chunk("a"), chunk(ended=True), DONE)
    async with Upstream(whole) as upstream, an_engine(f"http://127.0.0.1:{a_dead_port()}", upstream.url) as engine:
        assert words((await hear(engine, a_request()))[0]) == "a"


async def test_nothing_is_read_far_ahead_of_who_listens() -> None:
    sent = 0
    event = framed(chunk("x" * 10_000))

    async def counting(asked: Asked, talk: Talk) -> None:
        nonlocal sent
        await talk.say(HEAD)
        while not talk.closing.is_set():
            await talk.say(event)
            sent += len(event)

    async with Upstream(counting) as upstream, an_engine(upstream.url) as engine:
        last, still = -1, asyncio.Event()

        async def say(piece: bytes) -> None:
            nonlocal last
            while last != sent:  # until the upstream cannot get rid of any more
                last = sent
                await asyncio.sleep(0.05)
            still.set()
            await asyncio.Event().wait()

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(stream(engine, a_request(), say))
            await still.wait()
            asking.cancel()
    assert sent < 4 * flow.AHEAD_BYTES + (16 << 20), "what systems keep in their buffers, and no more"


async def test_a_stream_without_end_is_cut_off_at_the_limit() -> None:
    flood = floods(HEAD, framed(chunk("x" * 100_000)))
    async with Upstream(flood) as upstream, an_engine(upstream.url, answer_bytes=1 << 20) as engine:
        _, reply = await hear(engine, a_request())
    assert isinstance(reply, Failure) and reply.code == "bad_answer"
