"""Resumable uploads call by call: what official clients never do wrong, and what networks do."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from batchyard.domain.access import HOME, Role
from batchyard.service.rules import UploadRules
from tests.support.serving import OPERATOR, Live, live, read_answer

START = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
PATHS = ["/upload/v1/files", "/upload/v1beta/files", "/v1beta/upload/v1beta/files", "/gemini/upload/v1alpha/files"]
Told = tuple[int, str | None, int | None, Any]


async def begin(
    server: Live, body: bytes = b"", headers: Mapping[str, str | None] | None = None, path: str = PATHS[0]
) -> str:
    """Where the bytes go."""
    status, told, answer = await server.call("POST", path, body, {**START, **(headers or {})})
    assert (status, told["x-goog-upload-status"], answer) == (200, "active", b"")
    assert int(told["x-goog-upload-chunk-granularity"]) > 0
    address = urlsplit(told["x-goog-upload-url"])
    assert (address.scheme, address.netloc, address.path) == ("http", "test", path)
    return f"{address.path}?{address.query}"


async def send(
    server: Live, address: str, command: str, offset: int | None = None, data: bytes = b"", **headers: str
) -> Told:
    """Status, the upload's status, how much it has, and the body, of a call without a key."""
    given: dict[str, str | None] = {"authorization": None, "x-goog-upload-command": command, **headers}
    if offset is not None:
        given["x-goog-upload-offset"] = str(offset)
    status, told, answer = await server.call("POST", address, data, given)
    received = told.get("x-goog-upload-size-received")
    return status, told.get("x-goog-upload-status"), None if received is None else int(received), json.loads(answer)


async def bytes_of(server: Live, told: Told) -> bytes:
    assert told[:2] == (200, "final")
    return (await server.call("GET", f"/v1beta/{told[3]['file']['name']}:download"))[2]


@pytest.mark.parametrize("path", PATHS)
async def test_chunks_of_any_size_become_a_file(server: Live, path: str) -> None:
    address = await begin(server, path=path)
    assert await send(server, address, "upload", 0, b"0123") == (200, "active", 4, {})
    assert await send(server, address, "query") == (200, "active", 4, {})
    told = await send(server, address, "upload, finalize", 4, b"456789")
    assert await bytes_of(server, told) == b"0123456789"
    assert await send(server, address, "query") == told


async def test_the_last_command_may_come_without_bytes(server: Live) -> None:
    address = await begin(server)
    await send(server, address, "upload", 0, b"0123")
    assert await bytes_of(server, await send(server, address, "finalize")) == b"0123"


async def test_a_chunk_that_was_sent_before_is_accepted_again(server: Live) -> None:
    address = await begin(server)
    for _ in range(2):
        assert (await send(server, address, "upload", 0, b"0123"))[2] == 4
    assert (await send(server, address, "upload", 2, b"2345"))[2] == 6
    done = await send(server, address, "upload, finalize", 4, b"456789")
    assert await send(server, address, "upload, finalize", 4, b"456789") == done
    assert await send(server, address, "upload", 0, b"0123") == done
    assert await bytes_of(server, done) == b"0123456789"
    assert len(json.loads((await server.call("GET", "/v1beta/files"))[2])["files"]) == 1


async def test_a_chunk_that_leaves_a_gap_ends_the_clients_tries(server: Live) -> None:
    address = await begin(server)
    status, word, _, answer = await send(server, address, "upload", 5, b"x" * (9 << 20))
    assert (status, word, answer["error"]["status"]) == (400, "final", "INVALID_ARGUMENT")
    assert (await send(server, address, "query"))[2] == 0


@pytest.mark.parametrize("command", ["upload", "upload, finalize"])
async def test_a_connection_cut_in_a_chunk_costs_at_most_what_was_on_its_way(server: Live, command: str) -> None:
    address, data = await begin(server), bytes(range(256)) * 8192
    await send(server, address, "upload", 0, data[:1000])
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = [f"POST {address} HTTP/1.1", "host: t", f"x-goog-upload-command: {command}", "x-goog-upload-offset: 1000",
            f"content-length: {len(data) - 1000}", "", ""]  # fmt: skip
    writer.write("\r\n".join(head).encode() + data[1000:1_500_000])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    told = await send(server, address, "upload, finalize", 1000, data[1000:])
    assert await bytes_of(server, told) == data


async def test_a_new_connection_goes_on_while_an_old_one_hangs(server: Live) -> None:
    address, data = await begin(server), b"x" * 2_000_000
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = [f"POST {address} HTTP/1.1", "host: t", "x-goog-upload-command: upload", "x-goog-upload-offset: 0",
            f"content-length: {len(data)}", "", ""]  # fmt: skip
    writer.write("\r\n".join(head).encode() + data[:500_000])
    await writer.drain()
    while True:  # until the server is at work on it, which only it can tell
        if server.house.resumables._turns:  # pyright: ignore[reportPrivateUsage]
            break
        await asyncio.sleep(0)
    told = await send(server, address, "upload, finalize", 0, data)
    assert await bytes_of(server, told) == data
    writer.write(data[500_000:])
    assert (await read_answer(reader))[0] == 409
    writer.close()
    await writer.wait_closed()


async def test_a_cancelled_upload_is_gone(server: Live) -> None:
    address = await begin(server)
    await send(server, address, "upload", 0, b"0123")
    assert await send(server, address, "cancel") == (200, "cancelled", None, {})
    status, word, _, answer = await send(server, address, "upload, finalize", 4, b"x")
    assert (status, word) == (400, "final") and "cancelled" in answer["error"]["message"]
    assert json.loads((await server.call("GET", "/v1beta/files"))[2]) == {"files": []}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-goog-upload-protocol": "multipart"}, b""),
        ({"x-goog-upload-protocol": "raw"}, b""),
        ({"x-goog-upload-command": "upload"}, b""),
        ({}, b"{"),
        ({}, b'{"file": {"name": "-"}}'),
        ({}, b'{"file": {"mimeType": "a\\nb"}}'),
        ({"x-goog-upload-header-content-length": "x"}, b""),
    ],
)
async def test_what_cannot_begin_is_refused_for_good(server: Live, headers: dict[str, str], body: bytes) -> None:
    status, told, answer = await server.call("POST", "/upload/v1/files", body, {**START, **headers})
    assert (status, told["x-goog-upload-status"]) == (400, "final")
    assert json.loads(answer)["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "address",
    [f"/upload/v1/files?upload_id={id}" for id in ("none", "", "%ff%00", "x" * 5000, "%F0%9F%98%80", "a&upload_id=b")],
)
async def test_an_address_that_nobody_was_told_is_not_found(server: Live, address: str) -> None:
    status, word, _, answer = await send(server, address, "upload, finalize", 0, b"x")
    assert (status, word, answer["error"]["status"]) == (404, "final", "NOT_FOUND")


async def test_without_a_key_nothing_begins(server: Live) -> None:
    status, told, answer = await server.call("POST", "/upload/v1/files", b"", {**START, "authorization": None})
    assert (status, json.loads(answer)["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert "x-goog-upload-url" not in told


async def test_the_key_may_stand_in_the_query_and_in_no_address(server: Live) -> None:
    headers = {**START, "authorization": None}
    status, told, _ = await server.call("POST", f"/upload/v1/files?key={server.secret}", b"", headers)
    assert status == 200 and server.secret not in told["x-goog-upload-url"]


async def test_an_address_works_no_longer_than_the_key_that_it_was_told_to(server: Live) -> None:
    key, secret = await server.house.access.create_key(OPERATOR, "test", Role.EDITOR)
    address = await begin(server, headers={"authorization": f"Bearer {secret}"})
    await send(server, address, "upload", 0, b"0123")
    await server.house.access.revoke_key(OPERATOR, key.id, project=HOME)
    for command in ("upload, finalize", "query", "cancel"):
        status, word, _, answer = await send(server, address, command, 4, b"x")
        assert (status, word, answer["error"]["status"]) == (403, "final", "PERMISSION_DENIED")


async def test_a_key_that_is_sent_along_must_be_of_the_same_project(server: Live) -> None:
    address = await begin(server)
    theirs, other = await server.key(Role.ADMIN, project="theirs"), await server.key(Role.VIEWER)
    assert (await send(server, address, "query", authorization=f"Bearer {theirs}"))[0] == 403
    assert (await send(server, address, "query", authorization="Bearer wrong"))[0] == 400
    assert (await send(server, address, "query", authorization=f"Bearer {other}"))[0] == 200


async def test_an_upload_has_its_time() -> None:
    async with live(upload_rules=UploadRules(lifetime_seconds=0)) as server:
        status, word, _, answer = await send(server, await begin(server), "upload, finalize", 0, b"x")
    assert (status, word) == (400, "final") and "expired" in answer["error"]["message"]


async def test_bodies_may_be_as_people_write_them(server: Live) -> None:
    address = await begin(server, b"{'file': {'display_name': 'TEXT'}}")
    told = await send(server, address, "upload, finalize", 0, b"x")
    assert told[3]["file"]["displayName"] == "TEXT"


async def test_without_keys_only_programs_of_this_machine_send() -> None:
    async with live(keys=False) as server:
        here = {"host": "localhost", "authorization": None}
        status, told, _ = await server.call("POST", "/upload/v1/files", b"", {**START, **here})
        assert status == 200
        path = "/upload/v1/files?" + urlsplit(told["x-goog-upload-url"]).query
        assert (await send(server, path, "query", host="evil.example"))[0] == 403
        assert (await send(server, path, "upload, finalize", 0, b"x", host="localhost"))[0] == 200
