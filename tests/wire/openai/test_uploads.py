"""Uploads in parts by the official clients, in strict mode."""

import asyncio
import hashlib
import random
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError

from batchyard.domain.access import Role
from batchyard.service.rules import UploadRules
from tests.support.serving import Live, live

CONTENT = b'{"custom_id":"a"}\n'
assert len(CONTENT) == 18


async def begin(client: AsyncOpenAI, size: int = len(CONTENT)) -> str:
    made = await client.uploads.create(bytes=size, filename="in.jsonl", mime_type="application/jsonl", purpose="batch")
    assert (made.status, made.file, made.bytes) == ("pending", None, size)
    assert made.expires_at == made.created_at + 3600
    return made.id


async def send(client: AsyncOpenAI, upload: str, *pieces: bytes) -> list[str]:
    return [(await client.uploads.parts.create(upload, data=piece)).id for piece in pieces]


async def test_a_file_goes_up_in_parts_of_seven_bytes(server: Live) -> None:
    async with server.client() as client:
        made = await client.uploads.upload_file_chunked(
            file=CONTENT, filename="in.jsonl", bytes=18, mime_type="application/jsonl", purpose="batch", part_size=7,
            md5=hashlib.md5(CONTENT).hexdigest(),
        )  # fmt: skip
        assert made.status == "completed" and made.file is not None
        assert (made.file.filename, made.file.bytes, made.file.purpose) == ("in.jsonl", 18, "batch")
        assert (await client.files.content(made.file.id)).content == CONTENT


async def test_the_order_of_the_parts_is_that_of_their_names(server: Live) -> None:
    async with server.client() as client:
        upload = await begin(client)
        last, first, orphan = await send(client, upload, CONTENT[7:], CONTENT[:7], b"sent twice")
        made = await client.uploads.complete(upload, part_ids=[first, last])
        assert made.file is not None
        assert (await client.files.content(made.file.id)).content == CONTENT
        assert orphan not in (first, last)


async def test_parts_may_come_all_at_once(server: Live) -> None:
    content = b'{"x":' + random.Random(1).randbytes(40_000).hex().encode() + b"}\n"
    content = content.replace(b'{"x":', b'{"x":"').replace(b"}\n", b'"}\n')
    pieces = [content[i : i + 4096] for i in range(0, len(content), 4096)]
    async with server.client() as client:
        upload = await begin(client, len(content))
        parts = await asyncio.gather(*(client.uploads.parts.create(upload, data=piece) for piece in pieces))
        made = await client.uploads.complete(upload, part_ids=[part.id for part in parts])
        assert made.file is not None
        assert (await client.files.content(made.file.id)).content == content


async def test_completing_again_gives_the_same_file(server: Live) -> None:
    async with server.client() as client:
        upload = await begin(client)
        parts = await send(client, upload, CONTENT)
        first = await client.uploads.complete(upload, part_ids=parts)
        again = await client.uploads.complete(upload, part_ids=parts)
    assert first == again and first.file is not None


async def test_an_empty_upload_is_a_file_unless_it_is_for_a_batch(server: Live) -> None:
    async with server.client() as client:
        other = await client.uploads.create(bytes=0, filename="e", mime_type="text/plain", purpose="user_data")
        made = await client.uploads.complete(other.id, part_ids=[])
        assert made.file is not None and made.file.bytes == 0
        batch = await begin(client, 0)
        with pytest.raises(BadRequestError, match="Invalid file format"):
            await client.uploads.complete(batch, part_ids=[])


@pytest.mark.parametrize(
    ("names", "md5", "param"),
    [
        (["first"], None, "bytes"),
        (["first", "first"], None, "part_ids"),
        (["first", "part_none"], None, "part_ids"),
        (["first", "last"], "0" * 32, "md5"),
    ],
)
async def test_parts_that_do_not_make_the_file_are_refused(
    server: Live, names: list[str], md5: Any, param: str
) -> None:
    async with server.client() as client:
        upload = await begin(client)
        first, last = await send(client, upload, CONTENT[:7], CONTENT[7:])
        ids = {"first": first, "last": last}
        asked: dict[str, Any] = {"part_ids": [ids.get(name, name) for name in names]} | ({"md5": md5} if md5 else {})
        with pytest.raises(BadRequestError) as caught:
            await client.uploads.complete(upload, **asked)
        assert caught.value.param == param
        assert (await client.uploads.complete(upload, part_ids=[first, last])).status == "completed"


async def test_a_cancelled_upload_takes_nothing_more(server: Live) -> None:
    async with server.client() as client:
        upload = await begin(client)
        parts = await send(client, upload, CONTENT)
        assert (await client.uploads.cancel(upload)).status == "cancelled"
        assert (await client.uploads.cancel(upload)).status == "cancelled"
        for call in (send(client, upload, CONTENT), client.uploads.complete(upload, part_ids=parts)):
            with pytest.raises(BadRequestError):
                await call


async def test_unknown_and_foreign_uploads_are_alike(server: Live) -> None:
    async with server.client() as client, server.client(key=await server.key(Role.EDITOR, project="other")) as other:
        foreign = await begin(other)
        for upload in ("upload_none", foreign):
            for call in (
                send(client, upload, CONTENT),
                client.uploads.complete(upload, part_ids=[]),
                client.uploads.cancel(upload),
            ):
                with pytest.raises(NotFoundError):
                    await call


async def test_a_part_that_is_too_large_is_refused() -> None:
    async with live(upload_rules=UploadRules(part_bytes=10)) as server, server.client() as client:
        upload = await begin(client)
        with pytest.raises(APIStatusError) as caught:
            await send(client, upload, CONTENT)
    assert (caught.value.status_code, caught.value.code, caught.value.param) == (413, "file_too_large", "data")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"filename": "a", "purpose": "batch", "mime_type": "x"}, "bytes"),
        ({"bytes": 1, "purpose": "batch", "mime_type": "x"}, "filename"),
        ({"bytes": 1, "filename": "a", "mime_type": "x"}, "purpose"),
        ({"bytes": "1", "filename": "a", "purpose": "batch", "mime_type": "x"}, "bytes"),
        ({"bytes": -1, "filename": "a", "purpose": "batch", "mime_type": "x"}, "bytes"),
    ],
)
async def test_an_upload_that_cannot_begin_names_its_field(server: Live, body: dict[str, Any], param: str) -> None:
    status, answer = await server.json("POST", "/v1/uploads", body)
    assert (status, answer["error"]["param"]) == (400, param)


async def test_completing_without_parts_named_is_refused(server: Live) -> None:
    async with server.client() as client:
        upload = await begin(client)
    status, answer = await server.json("POST", f"/v1/uploads/{upload}/complete", {})
    assert (status, answer["error"]["code"]) == (400, "missing_required_parameter")
    status, answer = await server.json("POST", f"/v1/uploads/{upload}/complete", {"part_ids": "x"})
    assert (status, answer["error"]["param"]) == (400, "part_ids")


async def test_azure_uploads_in_parts_too(server: Live) -> None:
    async with server.azure() as client:
        made = await client.uploads.upload_file_chunked(
            file=CONTENT, filename="in.jsonl", bytes=18, mime_type="application/jsonl", purpose="batch", part_size=7
        )
        assert made.file is not None
        assert (await client.files.content(made.file.id)).content == CONTENT
