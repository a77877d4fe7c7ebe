"""Large files and parts, which pass the event loop by: kept whole or not at all, whatever happens on their way."""

import asyncio
import hashlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from openai import APIStatusError, InternalServerError

from batchyard.domain.access import Quota
from batchyard.server.detour import Detour
from batchyard.service.rules import UploadRules
from tests.simulation.disk import Faults
from tests.support.house import a_disk
from tests.support.processes import until
from tests.support.serving import Live, live, read_answer

LINE = b'{"custom_id":"%07d","method":"POST","url":"/v1/embeddings","body":{"input":"\\u2028 %b"}}\n'
TEXT = Random(1).randbytes(500).hex().encode()
CONTENT = b"".join(LINE % (number, TEXT) for number in range(8_000))
assert len(CONTENT) > 8 << 20

START = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
)
END = b"\r\n--b--\r\n"
FORM = START + CONTENT + END


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live(blob_threads=True) as running:
        yield running


@pytest.fixture
def detours(monkeypatch: pytest.MonkeyPatch) -> list[Detour]:
    """Every detour that was begun."""
    begun: list[Detour] = []

    class Noted(Detour):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            begun.append(self)

    monkeypatch.setattr("batchyard.server.connection.Detour", Noted)
    return begun


def kept(server: Live) -> list[Path]:
    """All bytes that the server keeps, finished or not."""
    return [path for path in Path(server.folder, "blobs").rglob("*") if path.is_file()]


def head(server: Live, length: int, path: str = "/v1/files") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "host: t",
        f"authorization: Bearer {server.secret}",
        "content-type: multipart/form-data; boundary=b",
        f"content-length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def listed(server: Live) -> list[str]:
    async with server.client() as client:
        return [file.id for file in (await client.files.list()).data]


async def test_a_large_file_is_kept_byte_for_byte(server: Live, detours: list[Detour]) -> None:
    async with server.client() as client:
        made = await client.files.create(file=("in.jsonl", CONTENT), purpose="batch")
        assert (made.bytes, made.filename, made.purpose) == (len(CONTENT), "in.jsonl", "batch")
        content = await client.files.with_raw_response.content(made.id)
        assert content.content == CONTENT
        assert content.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert len(detours) == 1 and detours[0].whole


async def test_a_form_whose_delimiters_look_alike_is_cut_where_it_ends(server: Live, detours: list[Detour]) -> None:
    """Carriage returns and half delimiters at every place, also where two reads meet."""
    content = b"\r\n--\r\r\n--" * 400_000 + b"\r\n--c"
    async with server.client() as client:
        made = await client.files.create(file=("a.bin", content), purpose="user_data")
        assert (await client.files.content(made.id)).content == content
    assert detours


async def test_a_part_takes_the_detour_too(server: Live, detours: list[Detour]) -> None:
    async with server.client() as client:
        upload = await client.uploads.upload_file_chunked(
            file=CONTENT, filename="in.jsonl", bytes=len(CONTENT), mime_type="application/jsonl", purpose="batch",
            part_size=3 << 20,
        )  # fmt: skip
        assert upload.file is not None
        assert (await client.files.content(upload.file.id)).content == CONTENT
    assert len(detours) == 3


async def test_many_large_files_at_once_are_as_many_files(server: Live, detours: list[Detour]) -> None:
    async with server.client() as client:
        sent = [CONTENT[len(LINE) * each :] for each in range(12)]
        made = await asyncio.gather(*(client.files.create(file=each, purpose="user_data") for each in sent))
        assert [(await client.files.content(each.id)).content for each in made] == sent
    assert len(detours) == 12


async def test_an_upload_that_breaks_off_leaves_nothing_and_is_nobodys_fault(
    server: Live, detours: list[Detour], caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head(server, len(FORM)) + FORM[:-20])
    await writer.drain()
    await until(lambda: kept(server) != [] and detours != [])
    writer.close()
    await writer.wait_closed()
    await until(lambda: kept(server) == [])
    assert await listed(server) == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_that_ends_before_its_length_leaves_nothing(server: Live) -> None:
    def send() -> bytes:
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(head(server, len(FORM) + 1) + FORM)
            line.shutdown(socket.SHUT_WR)
            return line.recv(1)

    assert await asyncio.to_thread(send) == b""
    await until(lambda: kept(server) == [])
    assert await listed(server) == []


async def test_what_follows_a_body_is_no_part_of_the_file(server: Live) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head(server, len(FORM)) + FORM + head(server, 0, "/v1/nowhere"))
    status, _, body = await read_answer(reader)
    assert (status, msgspec.json.decode(body)["bytes"]) == (200, len(CONTENT))
    assert (await read_answer(reader))[0] == 404
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("size", [len(CONTENT), (6 << 20) + 1])
async def test_a_file_that_is_too_large_is_refused_while_it_arrives(size: int) -> None:
    async with live(blob_threads=True, quota=Quota(file_bytes=6 << 20)) as server, server.client() as client:
        with pytest.raises(APIStatusError) as caught:
            await client.files.create(file=CONTENT[:size], purpose="batch")
        assert (caught.value.status_code, caught.value.code, caught.value.param) == (413, "file_too_large", "file")
        assert kept(server) == []
        await client.files.create(file=CONTENT[: 6 << 20], purpose="user_data")


async def test_a_part_that_is_too_large_is_refused_while_it_arrives() -> None:
    async with (
        live(blob_threads=True, upload_rules=UploadRules(part_bytes=6 << 20)) as server,
        server.client() as client,
    ):
        upload = await client.uploads.create(
            bytes=len(CONTENT), filename="in.jsonl", mime_type="application/jsonl", purpose="batch"
        )
        with pytest.raises(APIStatusError) as caught:
            await client.uploads.parts.create(upload.id, data=CONTENT)
        assert (caught.value.status_code, caught.value.param) == (413, "data")
        assert kept(server) == []


@pytest.mark.parametrize(
    ("form", "param"),
    [
        (START + CONTENT + b"\r\n" + START.partition(b"\r\n--b\r\n")[2].join([b"--b\r\n", b"x"]) + END, "file"),
        (START + CONTENT + b"\r\n--b no delimiter", None),
        (START + CONTENT, None),
        (START + CONTENT + b"\r\n" + START.replace(b'"file"', b'"other"') + bytes(70_000) + END, "other"),
    ],
)
async def test_a_form_that_breaks_behind_its_bytes_is_refused_and_its_connection_goes_on(
    server: Live, detours: list[Detour], form: bytes, param: str | None
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(2):
        writer.write(head(server, len(form)) + form)
        status, headers, body = await read_answer(reader)
        assert (status, msgspec.json.decode(body)["error"]["param"]) == (400, param)
        if "connection" in headers:  # too much was left to be read
            break
        assert kept(server) == []
    writer.close()
    await writer.wait_closed()
    assert detours and await listed(server) == []


async def test_a_full_disk_is_told_and_leaves_nothing(detours: list[Detour]) -> None:
    disk = a_disk(Faults(capacity_bytes=5 << 20))
    async with live(blob_disk=disk) as server, server.client() as client:
        with pytest.raises(InternalServerError) as caught:
            await client.files.create(file=CONTENT, purpose="batch")
        assert (caught.value.status_code, caught.value.code) == (503, "disk_full")
        assert detours and disk.files() == {}
        await client.files.create(file=CONTENT[: 1 << 20], purpose="user_data")


async def test_other_calls_are_answered_while_a_file_arrives(server: Live, detours: list[Detour]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head(server, len(FORM)))
    for start in range(0, len(FORM), 1 << 20):
        writer.write(FORM[start : start + (1 << 20)])
        await writer.drain()
        assert await listed(server) == []
    assert (await read_answer(reader))[0] == 200
    assert len(await listed(server)) == 1 and len(detours) == 1
    writer.close()
    await writer.wait_closed()


async def test_a_stop_that_waits_no_longer_leaves_nothing(detours: list[Detour]) -> None:
    async with live(blob_threads=True, grace_seconds=0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head(server, len(FORM)) + FORM[: 4 << 20])
        await until(lambda: kept(server) != [] and detours != [])
        server.stop.set()
        with suppress(ConnectionResetError):  # some of the body was never read
            assert (await reader.read())[:13] in (b"", b"HTTP/1.1 500 ")
        await until(lambda: kept(server) == [])
        writer.transport.abort()
