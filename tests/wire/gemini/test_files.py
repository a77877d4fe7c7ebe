"""Files by the official Gemini client: sent, listed, read and deleted; and as other wires see them."""

# The client names types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import asyncio
import base64
import hashlib
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.genai import errors, types

from batchyard.domain.access import Quota, Role
from batchyard.domain.file import BATCH_OUTPUT, INLINE, FileId
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.service.rules import FileRules
from tests.support.genai import client_of, talking
from tests.support.serving import HOME, MODEL, Live, live
from tests.support.tenants import a_file

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
"""The asynchronous client sends chunks of 8 MiB whole, of which its own library warns."""

CHUNK = 8 << 20
NOISE = Random(1).randbytes(CHUNK + 1)
LINE = json.dumps(
    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
     "body": {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}}
).encode()  # fmt: skip


def config(**changes: Any) -> types.UploadFileConfig:
    return types.UploadFileConfig.model_validate({"mime_type": "jsonl", **changes})


async def refused(call: Any) -> tuple[int, str | None]:
    with pytest.raises(errors.ClientError) as caught:
        await call
    return caught.value.code, caught.value.status


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_files_of_any_size_come_back_byte_for_byte(server: Live, size: int, version: str) -> None:
    data = NOISE[:size]
    async with talking(server, version=version) as client:
        made = await client.files.upload(file=io.BytesIO(data), config=config(display_name="night"))
        assert made.name and made.size_bytes == size and made.mime_type == "jsonl" and made.display_name == "night"
        assert base64.b64decode(made.sha256_hash or "").decode() == hashlib.sha256(data).hexdigest()
        assert made.uri == f"{server.url}/v1beta/{made.name}" and made.download_uri is None
        assert (made.state, made.source) == (types.FileState.ACTIVE, types.FileSource.UPLOADED)
        assert made.create_time and made.expiration_time
        assert (made.expiration_time - made.create_time).total_seconds() == 172_800
        assert await client.files.get(name=made.name) == made
        assert await client.files.download(file=made.name) == data
        await client.files.delete(name=made.name)
        assert await refused(client.files.get(name=made.name)) == (403, "PERMISSION_DENIED")


async def test_the_synchronous_client_does_the_same(server: Live, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(NOISE)

    def walk() -> None:
        client = client_of(server)
        made = client.files.upload(file=str(path), config=config(name="mine"))
        assert made.name == "files/mine" and made.size_bytes == len(NOISE)
        assert client.files.download(file="files/mine") == NOISE
        assert client.files.download(file=made.uri or "") == NOISE
        assert client.files.get(name=made.uri or "").name == "files/mine"
        assert [each.name for each in client.files.list(config={"page_size": 1})] == ["files/mine"]
        client.files.delete(name="files/mine")
        client.close()

    await asyncio.to_thread(walk)
    async with server.client() as other:
        assert [file.id async for file in other.files.list()] == []


async def test_a_name_is_taken_once_until_its_file_is_gone(server: Live) -> None:
    async with talking(server) as client:
        await client.files.upload(file=io.BytesIO(b"1"), config=config(name="mine"))
        taken = client.files.upload(file=io.BytesIO(b"2"), config=config(name="mine"))
        assert await refused(taken) == (409, "ALREADY_EXISTS")
        await client.files.delete(name="files/mine")
        await client.files.upload(file=io.BytesIO(b"3"), config=config(name="files/mine"))
        assert await client.files.download(file="files/mine") == b"3"


@pytest.mark.parametrize("wrong", [{"name": "Mine"}, {"display_name": "x" * 513}, {"name": "batch-" + "a" * 32}])
async def test_what_a_file_cannot_be_called_is_told(server: Live, wrong: dict[str, str]) -> None:
    async with talking(server) as client:
        sent = client.files.upload(file=io.BytesIO(b"x"), config=config(**wrong))
        assert await refused(sent) == (400, "INVALID_ARGUMENT")


async def test_what_is_too_large_or_too_much_is_told_before_a_byte_is_sent() -> None:
    async with live(quota=Quota(file_bytes=10, total_bytes=15)) as server, talking(server) as client:
        large = client.files.upload(file=io.BytesIO(b"x" * 11), config=config())
        assert await refused(large) == (400, "INVALID_ARGUMENT")
        await client.files.upload(file=io.BytesIO(b"x" * 10), config=config())
        full = client.files.upload(file=io.BytesIO(b"x" * 10), config=config())
        assert await refused(full) == (429, "RESOURCE_EXHAUSTED")


async def test_a_list_has_every_file_once_the_newest_first_and_nothing_inline(server: Live) -> None:
    async with talking(server) as client, server.client() as other:
        for number in range(3):
            await client.files.upload(file=io.BytesIO(b"x"), config=config(name=f"f-{number}"))
        await other.files.create(file=("in.jsonl", LINE), purpose="batch")
        await server.store.files.add(a_file(project=HOME, purpose=INLINE, created_at=1), None)
        seen = [file async for file in await client.files.list(config={"page_size": 2})]
        assert [file.name for file in seen[-3:]] == ["files/f-2", "files/f-1", "files/f-0"]
        assert len(seen) == 4 and seen[0].mime_type == "application/jsonl"
        assert len({file.name for file in seen}) == 4
        assert await refused(client.files.list(config={"page_token": "none"})) == (400, "INVALID_ARGUMENT")


async def test_results_are_shown_with_an_address_and_downloaded_as_objects(server: Live) -> None:
    async with talking(server) as client:
        made = await client.files.upload(file=io.BytesIO(LINE), config=config())
        stored = await server.store.files.get(HOME, FileId("file-" + (made.name or "").removeprefix("files/")), 0)
        assert stored is not None
        name = "batch-" + "0" * 32
        await server.store.files.add(
            a_file(project=HOME, name=name, purpose=BATCH_OUTPUT, bytes=len(LINE), blob=stored.blob), None
        )
        result = await client.files.get(name=f"files/{name}")
        assert result.source == types.FileSource.GENERATED and result.mime_type == "application/jsonl"
        assert result.download_uri == f"{server.url}/v1beta/files/{name}:download?alt=media"
        assert await client.files.download(file=result) == LINE
        await client.files.delete(name=f"files/{name}")


async def test_files_of_one_wire_are_there_on_the_other() -> None:
    async with (
        live(walks=CalendarSettings(look_seconds=1)) as server, talking(server) as client, server.client() as other,
    ):  # fmt: skip
        theirs = await client.files.upload(file=io.BytesIO(LINE), config=config(display_name="Mine"))
        (shown,) = [file async for file in other.files.list()]
        assert (shown.purpose, shown.filename, shown.bytes) == ("user_data", "Mine", len(LINE))
        assert theirs.name == "files/" + shown.id.removeprefix("file-")
        batch = await other.batches.create(
            input_file_id=shown.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        while batch.status != "completed":
            batch = await other.batches.retrieve(batch.id)
        output = batch.output_file_id or ""
        seen = await client.files.get(name=f"files/{output.removeprefix('file-')}")
        assert seen.source == types.FileSource.GENERATED
        assert b'"custom_id": "a"' in await client.files.download(file=seen)


async def test_a_job_reads_a_file_by_the_name_that_it_was_given_and_its_results_are_downloaded() -> None:
    rows = b"".join(b'{"key": "r%d", "request": {"contents": [{"parts": [{"text": "hi"}]}]}}\n' % n for n in range(3))
    async with live(walks=CalendarSettings(look_seconds=1)) as server, talking(server) as client:
        await client.files.upload(file=io.BytesIO(rows), config=config(name="rows"))
        job = await client.batches.create(model=MODEL, src="files/rows")
        while not job.done:
            job = await client.batches.get(name=job.name or "")
        assert job.state is types.JobState.JOB_STATE_SUCCEEDED and job.dest is not None and job.dest.file_name
        answers = (await client.files.download(file=job.dest.file_name)).decode().splitlines()
        assert [json.loads(line)["key"] for line in answers] == ["r0", "r1", "r2"]
        result = await client.files.get(name=job.dest.file_name)
        assert result.source is types.FileSource.GENERATED and await client.files.download(file=result)
        await client.files.delete(name=job.dest.file_name)
        assert await refused(client.files.get(name=job.dest.file_name)) == (403, "PERMISSION_DENIED")


async def test_a_file_lives_as_long_as_the_server_says() -> None:
    async with live(file_rules=FileRules(gemini_expiry_seconds=None)) as server, talking(server) as client:
        made = await client.files.upload(file=io.BytesIO(b"x"), config=config())
        assert made.expiration_time is None


async def test_another_projects_file_and_none_at_all_are_the_same(server: Live) -> None:
    theirs = await server.key(Role.EDITOR, project="theirs")
    async with talking(server) as client, talking(server, key=theirs) as stranger:
        made = await client.files.upload(file=io.BytesIO(b"x"), config=config(name="mine"))
        for name in ("files/mine", "files/none"):
            for call in (stranger.files.get, stranger.files.delete):
                assert await refused(call(name=name)) == (403, "PERMISSION_DENIED")
            assert await refused(stranger.files.download(file=name)) == (403, "PERMISSION_DENIED")
        assert await client.files.get(name=made.name or "") == made
        await stranger.files.upload(file=io.BytesIO(b"y"), config=config(name="mine"))
        assert await client.files.download(file="files/mine") == b"x"


async def test_who_may_only_look_may_not_send(server: Live) -> None:
    async with talking(server, key=await server.key(Role.VIEWER)) as viewer:
        sent = viewer.files.upload(file=io.BytesIO(b"x"), config=config())
        assert await refused(sent) == (403, "PERMISSION_DENIED")


async def test_a_wrong_key_begins_nothing(server: Live) -> None:
    async with talking(server, key="by-nothing") as nobody:
        sent = nobody.files.upload(file=io.BytesIO(b"x"), config=config())
        assert await refused(sent) == (400, "INVALID_ARGUMENT")


# As bytes


async def test_bytes_are_read_under_every_address_in_ranges_and_with_their_tag(server: Live) -> None:
    async with talking(server) as client:
        await client.files.upload(file=io.BytesIO(b"0123456789"), config=config(name="mine"))
    for path in (
        "/v1/files/mine:download?alt=media",
        "/v1beta/files/mine%3Adownload?alt=media",
        "/download/v1beta/files/mine:download?alt=media",
        "/gemini/v1/files/mine:download",
        f"/v1beta/files/{server.url}/v1beta/files/mine:download?alt=media",
    ):
        status, headers, body = await server.call("GET", path, headers={"range": "bytes=2-4"})
        assert (status, body, headers["content-range"]) == (206, b"234", "bytes 2-4/10"), path
        assert headers["content-type"] == "jsonl" and headers["x-content-type-options"] == "nosniff"
        status, _, body = await server.call("GET", path, headers={"if-none-match": headers["etag"]})
        assert (status, body) == (304, b"")
    status, headers, body = await server.call("GET", "/v1beta/files/mine:download", headers={"range": "bytes=10-"})
    assert (status, headers["content-range"]) == (416, "bytes */10")
    assert json.loads(body)["error"]["status"] == "INVALID_ARGUMENT"


async def test_addresses_are_those_that_the_caller_came_by(server: Live) -> None:
    async with talking(server, path="/gemini") as client:
        made = await client.files.upload(file=io.BytesIO(b"x"), config=config())
        assert made.uri == f"{server.url}/gemini/v1beta/{made.name}"
        assert await client.files.download(file=made.uri or "") == b"x"


FORWARDED: dict[str, str | None] = {
    "x-forwarded-proto": "https", "x-forwarded-host": "batches.example:8443, inner", "x-forwarded-prefix": "/gem/",
}  # fmt: skip


@pytest.mark.parametrize(
    ("behind_proxy", "headers", "base"),
    [
        (True, FORWARDED, "https://batches.example:8443/gem"),
        (True, {"x-forwarded-host": "a/b", "x-forwarded-prefix": "x"}, "http://test"),
        (False, {**FORWARDED, "x-forwarded-proto": None}, "http://test"),
    ],
)
async def test_a_proxy_is_believed_only_where_there_is_one(
    behind_proxy: bool, headers: dict[str, str | None], base: str
) -> None:
    async with live(behind_proxy=behind_proxy) as server:
        start = {**headers, "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
        status, answered, _ = await server.call("POST", "/upload/v1/files", headers=start)
        assert status == 200 and answered["x-goog-upload-url"].startswith(f"{base}/upload/v1/files?upload_id=")
