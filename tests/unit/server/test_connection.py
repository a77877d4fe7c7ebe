"""Connections before anybody knows who calls: large heads, slow heads, and bytes that are no call."""

import asyncio

import msgspec
import pytest

from batchyard.server import connection
from batchyard.server.connection import HEAD_BYTES, HEAD_FIELDS
from tests.support.serving import Answered, live, read_answer

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: t\r\n"


def refused(answered: Answered, status: int) -> str | None:
    got, headers, body = answered
    error = msgspec.json.decode(body)["error"]
    assert (got, headers["connection"], headers["content-type"]) == (status, "close", "application/json")
    assert sorted(error) == ["code", "message", "param", "type"] and error["message"]
    return error["code"]


@pytest.mark.parametrize(
    "head",
    [
        HEALTH + b"x: " + b"a" * HEAD_BYTES + b"\r\n\r\n",
        b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nhost: t\r\n\r\n",
        HEALTH + b"".join(b"x%d: a\r\n" % number for number in range(HEAD_FIELDS)) + b"\r\n",
        HEALTH + b"x: a\r\n" * 100_000,  # without an end
    ],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with live() as server:
        assert refused(await server.raw(head), 431) == "headers_too_large"


@pytest.mark.parametrize("start", [HEALTH + b"x: ", HEALTH + b"x", b"GET /"])
async def test_a_head_that_does_not_end_takes_no_memory(start: bytes) -> None:
    async with live() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        sent = 0
        writer.write(start)
        try:
            while sent < 64 * HEAD_BYTES:
                writer.write(b"a" * 8192)
                await writer.drain()
                sent += 8192
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        assert sent < 64 * HEAD_BYTES
        reader.feed_eof()


async def test_a_head_within_the_limits_is_read() -> None:
    large = b"x: " + b"a" * (HEAD_BYTES - 200) + b"\r\n"
    many = b"".join(b"x%d: a\r\n" % number for number in range(HEAD_FIELDS - 2))
    async with live() as server:
        for more in (large, many):
            status, _, _ = await server.raw(HEALTH + more + b"\r\n", "GET")
            assert status == 200


async def test_heads_that_come_byte_by_byte_count_for_themselves() -> None:
    """What one call brings, and what the body of the one before, counts for no other."""
    call = b"POST /v1/batches HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\nx: " + b"a" * (HEAD_BYTES // 2) + b"\r\n\r\n"
    async with live() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(3):
            for piece in (call[:50], call[50:20_000], call[20_000:] + b"{}", b"       "):
                writer.write(piece)
                await writer.drain()
            assert (await read_answer(reader))[0] == 401
        for piece in (call[:50], call[50:] + b" " * 9 + call[:50], call[50:] + b" " * 9):
            writer.write(piece)
            await writer.drain()
        assert [(await read_answer(reader))[0] for _ in range(2)] == [401, 401]
        body = b"POST /v1/batches HTTP/1.1\r\nhost: t\r\ncontent-length: 200000\r\n\r\n" + bytes(200_000)
        writer.write(body + call[:50])
        assert (await read_answer(reader))[0] == 401
        writer.write(call[50:] + b" " * 9)
        assert (await read_answer(reader))[0] == 401
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("sent", [b"", HEALTH, b"\r\n\r\n", HEALTH + b"\r\n" + b"\r\n", HEALTH + b"\r\n" + HEALTH])
async def test_a_head_that_does_not_come_in_time_ends_the_connection(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    async with live() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        if HEALTH + b"\r\n" in sent:
            assert (await read_answer(reader))[0] == 200
            if not sent.endswith(HEALTH):
                writer.write(b"\r\n")  # and now nothing
        async with asyncio.timeout(10):
            left = await reader.read()
        writer.close()
        assert (b"HTTP/1.1 408" in left) == sent.endswith(HEALTH)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
        b"GET / HTTP/1.1\r\nhost: t\r\nx\x00y: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: t\r\nx: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: t\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\nhost: t\r\n\r\n",
        b"{}\r\n\r\n",
    ],
)
async def test_what_is_no_call_gets_an_envelope(sent: bytes) -> None:
    async with live() as server:
        refused(await server.raw(sent), 400)


async def test_a_chunk_that_cannot_be_read_ends_the_call() -> None:
    async with live() as server:
        head = f"POST /v1/batches HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {server.secret}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        status, _, _ = await server.call("GET", "/healthz")
    assert status == 200
