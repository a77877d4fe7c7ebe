"""Files by the official clients, in strict mode, over real HTTP."""

import asyncio
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai import (
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)

from batchyard.domain.access import Quota, Role
from batchyard.service.rules import FileRules
from tests.support.processes import until
from tests.support.serving import API_VERSION, Live, live, request_id

LINE = '{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "x\u2028y"}}\n'.encode()
DAY = 86_400


def kept(server: Live) -> list[Path]:
    """All bytes that the server keeps, finished or not."""
    return [path for path in Path(server.folder, "blobs").rglob("*") if path.is_file()]


async def upload(client: AsyncOpenAI, content: bytes = LINE, name: str = "in.jsonl") -> str:
    return (await client.files.create(file=(name, content), purpose="batch")).id


async def test_a_file_comes_back_byte_for_byte_however_it_was_given(server: Live, tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(LINE)
    with path.open("rb") as handle:
        given: list[tuple[Any, str]] = [
            (handle, "night.jsonl"),
            (path, "night.jsonl"),
            (LINE, "upload"),
            (io.BytesIO(LINE), "upload"),
            (('n"ächt\u2028.jsonl', LINE, "application/jsonl"), 'n"ächt\u2028.jsonl'),
        ]
        async with server.client() as client:
            for file, name in given:
                made = await client.files.create(file=file, purpose="batch")
                assert (made.filename, made.bytes, made.status) == (name, len(LINE), "processed")
                assert made.expires_at == made.created_at + 30 * DAY
                assert made.id.startswith("file-") and len(made.id) == 30
                assert (await client.files.content(made.id)).content == LINE
                assert await client.files.retrieve(made.id) == made


async def test_the_sync_client_uploads_and_downloads(server: Live) -> None:
    def walk() -> tuple[bytes, bool]:
        with server.sync_client() as client:
            made = client.files.create(file=("in.jsonl", LINE), purpose="batch")
            assert client.files.wait_for_processing(made.id).status == "processed"
            content = client.files.content(made.id).read()
            return content, client.files.delete(made.id).deleted

    assert await asyncio.to_thread(walk) == (LINE, True)


async def test_an_expiry_is_kept(server: Live) -> None:
    async with server.client() as client:
        made = await client.files.create(
            file=LINE, purpose="batch", expires_after={"anchor": "created_at", "seconds": 7200}
        )
    assert made.expires_at == made.created_at + 7200


@pytest.mark.parametrize("seconds", [3599, 2_592_001])
async def test_an_expiry_out_of_range_is_refused(server: Live, seconds: int) -> None:
    async with server.client() as client:
        with pytest.raises(BadRequestError) as caught:
            await client.files.create(
                file=LINE, purpose="batch", expires_after={"anchor": "created_at", "seconds": seconds}
            )
    assert caught.value.param == "expires_after.seconds"
    assert caught.value.code in ("integer_below_min_value", "integer_above_max_value")


async def test_a_form_with_its_file_first_and_no_length_is_taken(server: Live) -> None:
    """As the JavaScript client sends it."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="js.jsonl"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + LINE + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="some_extra"\r\n\r\nx\r\n--b--\r\n'
    )
    pieces = [form[i : i + 50] for i in range(0, len(form), 50)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    headers = {
        "content-length": None,
        "transfer-encoding": "chunked",
        "content-type": "multipart/form-data; boundary=b",
    }
    status, _, answer = await server.call("POST", "/v1/files", body, headers)
    made = msgspec.json.decode(answer)
    assert (status, made["filename"], made["purpose"], made["bytes"]) == (200, "js.jsonl", "batch", len(LINE))
    async with server.client() as client:
        assert (await client.files.content(made["id"])).content == LINE


async def post_form(server: Live, form: bytes) -> tuple[int, Any]:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    status, _, answer = await server.call("POST", "/v1/files", form, headers)
    return status, msgspec.json.decode(answer)["error"]


FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + LINE + b"\r\n"
PURPOSE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'


@pytest.mark.parametrize(
    ("form", "param", "code"),
    [
        (FILE + b"--b--\r\n", "purpose", "missing_required_parameter"),
        (PURPOSE + b"--b--\r\n", "file", "missing_required_parameter"),
        (PURPOSE + FILE + FILE + b"--b--\r\n", "file", "invalid_value"),
        (PURPOSE + FILE, None, None),
        (b"no form", None, None),
        (PURPOSE.replace(b"batch", b"x" * 70_000) + FILE + b"--b--\r\n", "purpose", None),
        (PURPOSE.replace(b"batch", b"night") + FILE + b"--b--\r\n", "purpose", "invalid_value"),
    ],
)
async def test_a_broken_form_is_refused_and_leaves_nothing(
    server: Live, form: bytes, param: str | None, code: str | None
) -> None:
    status, error = await post_form(server, form)
    assert (status, error["param"]) == (400, param)
    assert error["code"] == code or code is None
    assert kept(server) == []
    async with server.client() as client:
        assert (await client.files.list()).data == []


async def test_a_call_that_is_no_form_is_refused(server: Live) -> None:
    status, _, answer = await server.call("POST", "/v1/files", b"{}", {"content-type": "application/json"})
    assert status == 400 and b"multipart/form-data" in answer


@pytest.mark.parametrize("content", [b"", b"\n\n", b"PK\x03\x04 an archive", b"a;b;c\n"])
async def test_what_is_no_jsonl_is_refused_as_a_batch_input_only(server: Live, content: bytes) -> None:
    async with server.client() as client:
        with pytest.raises(BadRequestError, match="Invalid file format") as caught:
            await client.files.create(file=("a.jsonl", content), purpose="batch")
        other = await client.files.create(file=("a.bin", content), purpose="user_data")
    assert (caught.value.param, caught.value.code) == (None, None)
    assert other.expires_at is None and other.bytes == len(content)


async def test_the_name_is_checked_where_that_is_wished_for() -> None:
    async with live(file_rules=FileRules(require_jsonl_name=True)) as server, server.client() as client:
        with pytest.raises(BadRequestError, match=r"\.jsonl"):
            await client.files.create(file=("a.txt", LINE), purpose="batch")


async def test_a_file_that_is_too_large_is_refused_while_it_arrives() -> None:
    async with live(quota=Quota(file_bytes=1000)) as server, server.client() as client:
        with pytest.raises(APIStatusError) as caught:
            await client.with_options(max_retries=2).files.create(file=LINE * 10_000, purpose="batch")
        assert (caught.value.status_code, caught.value.code, caught.value.param) == (413, "file_too_large", "file")
        assert kept(server) == []


async def test_a_full_project_says_so_and_is_not_asked_again() -> None:
    async with live(quota=Quota(files=1)) as server, server.client() as client:
        await upload(client)
        with pytest.raises(RateLimitError) as caught:
            await upload(client.with_options(max_retries=2))
        assert caught.value.code == "insufficient_quota"
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert server.house.metrics.registry.get_sample_value(
            "batchyard_http_requests_total", {"route": "/files", "method": "POST", "status": "429"}
        ) == 1  # fmt: skip


async def test_unknown_deleted_and_foreign_files_are_all_alike(server: Live) -> None:
    async with server.client() as client, server.client(key=await server.key(Role.EDITOR, project="other")) as other:
        foreign, deleted = await upload(other), await upload(client)
        await client.files.delete(deleted)
        for id in ("file-none", deleted, foreign, "...", "\x00", "ä"):
            for call in (client.files.retrieve, client.files.content, client.files.delete):
                with pytest.raises(NotFoundError) as caught:
                    await call(id)
                assert (caught.value.code, caught.value.param) == (None, "id")
                assert f"No such File object: {id}" in str(caught.value)
                assert (caught.value.request_id or "").startswith("req_")
        assert [file.id for file in (await client.files.list()).data] == []
        assert [file.id for file in (await other.files.list()).data] == [foreign]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2])
async def test_lists_are_walked_page_by_page_without_repeats(server: Live, order: Any, limit: int) -> None:
    async with server.client() as client:
        made = [await upload(client) for _ in range(5)]
        seen = [file.id async for file in client.files.list(limit=limit, order=order)]
    assert seen == (made if order == "asc" else made[::-1])


async def test_a_cursor_of_a_deleted_file_still_works(server: Live) -> None:
    async with server.client() as client:
        made = [await upload(client) for _ in range(4)]
        page = await client.files.list(limit=2, order="asc")
        await client.files.delete(made[1])
        rest = [file.id async for file in await page.get_next_page()]
    assert rest == made[2:]


async def test_lists_are_filtered_by_purpose(server: Live) -> None:
    async with server.client() as client:
        await upload(client)
        other = await client.files.create(file=b"x", purpose="user_data")
        assert [file.id async for file in client.files.list(purpose="user_data")] == [other.id]


@pytest.mark.parametrize(("query", "param"), [("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"),
                                              ("after=file-nobody", "after"), ("limit=-5", "limit")])  # fmt: skip
async def test_a_list_call_that_makes_no_sense_is_refused(server: Live, query: str, param: str) -> None:
    status, answer = await server.json("GET", f"/v1/files?{query}")
    assert (status, answer["error"]["param"]) == (400, param)


async def test_a_list_takes_a_limit_above_its_own(server: Live) -> None:
    status, answer = await server.json("GET", "/v1/files?limit=99999999999999999&after=")
    assert (status, answer["has_more"], answer["first_id"], answer["last_id"]) == (200, False, None, None)


async def test_a_range_resumes_a_download(server: Live) -> None:
    content = bytes(range(256)) * 20
    async with server.client() as client:
        id = (await client.files.create(file=content, purpose="user_data")).id
        whole = await client.files.with_raw_response.content(id)
        tag = whole.headers["etag"]
        rest = await client.files.with_raw_response.content(id, extra_headers={"Range": "bytes=1000-", "If-Range": tag})
        stale = await client.files.with_raw_response.content(
            id, extra_headers={"Range": "bytes=1000-", "If-Range": '"other"'}
        )
        with pytest.raises(APIStatusError) as caught:
            await client.files.content(id, extra_headers={"Range": "bytes=99999-"})
    assert whole.headers["accept-ranges"] == "bytes" and whole.headers["content-length"] == str(len(content))
    assert rest.http_response.status_code == 206 and rest.content == content[1000:]
    assert rest.headers["content-range"] == f"bytes 1000-{len(content) - 1}/{len(content)}"
    assert stale.http_response.status_code == 200 and stale.content == content
    assert caught.value.status_code == 416 and caught.value.code == "invalid_range"
    assert caught.value.response.headers["content-range"] == f"bytes */{len(content)}"


async def test_a_head_and_an_unchanged_file_cost_no_body(server: Live) -> None:
    async with server.client() as client:
        id = await upload(client)
    status, headers, body = await server.call("HEAD", f"/v1/files/{id}/content")
    assert (status, headers["content-length"], body) == (200, str(len(LINE)), b"")
    status, _, _ = await server.call("GET", f"/v1/files/{id}/content", headers={"if-none-match": headers["etag"]})
    assert status == 304


async def test_an_empty_file_is_downloaded_whole(server: Live) -> None:
    async with server.client() as client:
        id = (await client.files.create(file=b"", purpose="user_data")).id
        assert (await client.files.content(id)).content == b""


async def test_a_download_streams_and_can_be_left(server: Live) -> None:
    content = LINE * 50_000
    async with server.client() as client:
        id = await upload(client, content)
        async with client.files.with_streaming_response.content(id) as streamed:
            read = [piece async for piece in streamed.iter_bytes()]
        async with client.files.with_streaming_response.content(id) as left:
            async for _ in left.iter_bytes():
                break
    assert b"".join(read) == content


async def test_two_uploads_under_one_idempotency_key_are_one_file(server: Live) -> None:
    async with server.client() as client:
        once: dict[str, Any] = {"extra_headers": {"Idempotency-Key": "k1"}}
        first = await client.files.create(file=("a.jsonl", LINE), purpose="batch", **once)
        second = await client.files.create(file=("a.jsonl", LINE), purpose="batch", **once)
        with pytest.raises(APIStatusError) as caught:
            await client.with_options(max_retries=2).files.create(file=("b.jsonl", LINE), purpose="batch", **once)
        assert first.id == second.id
        assert [file.id async for file in client.files.list()] == [first.id]
    assert caught.value.status_code == 409 and caught.value.response.headers["x-should-retry"] == "false"


async def test_roles_bound_what_a_key_may_do(server: Live) -> None:
    async with server.client(key=await server.key(Role.VIEWER)) as viewer:
        assert (await viewer.files.list()).data == []
        with pytest.raises(PermissionDeniedError) as caught:
            await upload(viewer)
    assert caught.value.type == "permission_error"
    async with server.client(key=await server.key(Role.DATASETS_EDITOR)) as editor:
        await upload(editor)
        with pytest.raises(PermissionDeniedError):
            await editor.chat.completions.create(model="echo-1", messages=[])


async def test_azure_is_answered_in_azures_way(server: Live) -> None:
    async with server.azure() as client:
        raw = await client.files.with_raw_response.create(file=("a.jsonl", LINE), purpose="batch")
        made = raw.parse()
        assert raw.http_response.status_code == 201
        location = f"{server.url}/openai/files/{made.id}?api-version={API_VERSION}"
        assert raw.headers["location"] == location
        assert (await client.files.content(made.id)).content == LINE
        assert [file.id async for file in client.files.list(limit=1)] == [made.id]
        assert (await client.files.delete(made.id)).deleted
        with pytest.raises(NotFoundError) as caught:
            await client.files.retrieve(made.id)
    assert caught.value.code == "notFound"


async def test_the_v1_base_url_of_azure_is_answered_too(server: Live) -> None:
    async with server.client("/openai/v1/") as client:
        raw = await client.files.with_raw_response.create(file=("a.jsonl", LINE), purpose="batch")
        assert raw.http_response.status_code == 201
        assert raw.headers["location"] == f"{server.url}/openai/v1/files/{raw.parse().id}"


async def test_fifty_uploads_at_once_are_fifty_files(server: Live) -> None:
    async with server.client() as client:
        made = await asyncio.gather(*(client.files.create(file=LINE, purpose="batch") for _ in range(50)))
        listed = [file.id async for file in client.files.list(limit=20)]
    assert sorted(file.id for file in made) == sorted(listed)
    assert len({request_id(file) for file in made}) == 50


async def test_an_upload_that_breaks_off_leaves_nothing(server: Live) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /v1/files HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {server.secret}\r\ncontent-length: 9999\r\n"
    writer.write(head.encode() + b"content-type: multipart/form-data; boundary=b\r\n\r\n" + PURPOSE + FILE[:-20])
    await writer.drain()
    await until(lambda: kept(server) != [])
    writer.close()
    await writer.wait_closed()
    await until(lambda: kept(server) == [])


async def test_a_wrong_key_is_the_clients_authentication_error(server: Live) -> None:
    async with server.client(key="nonsense") as client, server.azure(key="nonsense") as azure:
        with pytest.raises(AuthenticationError) as caught:
            await client.files.list()
        with pytest.raises(AuthenticationError) as caught_azure:
            await azure.files.list()
    assert caught.value.code == "invalid_api_key" and caught.value.request_id is not None
    assert caught_azure.value.code == "401" and caught_azure.value.request_id is not None
