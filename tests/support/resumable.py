"""Resumable uploads of the Gemini wire over plain sockets, which can be cut anywhere, against any server's port."""

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

UPLOAD = "upload"
LAST = "upload, finalize"
QUERY = "query"


class Told(Struct, frozen=True):
    """What a call was told: its status, how much the upload has, and the file once it is one."""

    status: int
    word: str | None
    received: int | None
    file: dict[str, Any] | None


def begin(port: int, key: str, size: int) -> str:
    """Where bytes go, below whichever port the server has."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    headers = {
        "x-goog-api-key": key, "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(size),
    }  # fmt: skip
    line.request("POST", "/upload/v1beta/files", b"", headers)
    answer = line.getresponse()
    answer.read()
    line.close()
    address = urlsplit(answer.headers["x-goog-upload-url"])
    return f"{address.path}?{address.query}"


class Sender:
    """One connection, kept alive."""

    def __init__(self, port: int) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", port)

    def send(self, address: str, command: str, offset: int = 0, data: bytes | memoryview = b"") -> Told:
        """Send some bytes, and hear what became of them."""
        self._line.request("POST", address, data, _headers(command, offset))
        answer = self._line.getresponse()
        body, headers = answer.read(), answer.headers
        received = headers["x-goog-upload-size-received"]
        file = json.loads(body).get("file") if body else None
        return Told(answer.status, headers["x-goog-upload-status"], None if received is None else int(received), file)

    def close(self) -> None:
        self._line.close()


def begin_chunk(
    port: int, address: str, command: str, offset: int, size: int, data: bytes | memoryview
) -> socket.socket:
    """A connection on which a chunk of some size was begun with some of its bytes."""
    line = socket.create_connection(("127.0.0.1", port))
    lines = [f"POST {address} HTTP/1.1", "host: t", f"content-length: {size}"]
    lines += [f"{name}: {value}" for name, value in _headers(command, offset).items()]
    line.sendall("\r\n".join([*lines, "", ""]).encode())
    line.sendall(data)
    return line


def _headers(command: str, offset: int) -> Mapping[str, str]:
    return {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
