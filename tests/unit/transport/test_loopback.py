"""The small GET for probes."""

import asyncio

import pytest

from batchyard.transport.loopback import free_port, get


async def test_nobody_listening_is_an_error() -> None:
    with pytest.raises(OSError, match="Connect"):
        await get(free_port(), "/health")


async def test_an_answer_that_is_not_http_is_an_error() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match="not HTTP"):
            await get(server.sockets[0].getsockname()[1], "/")
