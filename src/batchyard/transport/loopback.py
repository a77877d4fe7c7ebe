"""Small things on 127.0.0.1: a free port, and one GET. For probes; requests go through the HTTP client."""

import asyncio
import socket
from contextlib import suppress


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def get(port: int, path: str, *, key: str = "", max_bytes: int = 16 * 1024 * 1024) -> tuple[int, bytes]:
    """One GET on loopback: status and body. HTTP/1.0, so that the end of the connection is the end of the body.

    Raises OSError where nobody answers, or not in HTTP.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        bearer = f"Authorization: Bearer {key}\r\n" if key else ""
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n{bearer}\r\n".encode())
        answer = bytearray()
        while len(answer) <= max_bytes and (part := await reader.read(65536)):
            answer += part
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return _parse(bytes(answer))


def _parse(answer: bytes) -> tuple[int, bytes]:
    head, separator, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError("the answer is not HTTP")
    return int(words[1]), body
