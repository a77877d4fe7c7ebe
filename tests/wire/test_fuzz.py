"""Input that no honest client sends: forms, lines, archives, words in headers and paths. Each gets its envelope."""

import gzip
import io
import zipfile
from typing import Any
from urllib.parse import quote_from_bytes

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.domain.access import Quota
from tests.support.serving import MODEL, Answered, Live, live
from tests.wire.openai.test_walks import WALKS, a_line, jsonl
from tests.wire.test_openapi import CHAT, FORM, form

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TERMINAL = ("completed", "failed")


def error_of(answered: Answered) -> dict[str, Any]:
    """The envelope of a refusal that is no fault of ours."""
    status, headers, body = answered
    assert 400 <= status < 500 and headers["content-type"] == "application/json", answered
    error = msgspec.json.decode(body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"] and error["message"]
    for leak in ("Traceback", ".py", "sqlite", "/tmp/"):
        assert leak not in error["message"], error
    return error


# Forms

DISPOSITIONS = [
    b'form-data; name="file"; filename="a.jsonl"', b'form-data; name="file"', b"form-data; name=file",
    b'form-data; name="purpose"', b'form-data; name=""', b"form-data", b"", b'attachment; name="file"',
    b'form-data; name="file"; filename*=utf-8\'\'%ff%00', b'form-data; name="\xff\xfe"', b'form-data; name="file',
    b'form-data; name="expires_after[seconds]"', b'form-data; name="expires_after[anchor]"',
]  # fmt: skip
parts = st.lists(
    st.tuples(
        st.sampled_from(DISPOSITIONS),
        st.sampled_from([b"batch", b"user_data", b"", b"{}\n", b"\x00\xff", b"3600", b"9" * 5000, b"--b", b"\r\n--"]),
        st.sampled_from([b"\r\n", b"\n", b"", b"--\r\n", b" \t\r\n"]),
    ),
    max_size=4,
)


def written(content: list[tuple[bytes, bytes, bytes]], end: bytes) -> bytes:
    each = (b"--b%bContent-Disposition: %b\r\n\r\n%b\r\n" % (line, head, data) for head, data, line in content)
    return b"".join(each) + end


@few
@given(st.lists(st.tuples(parts, st.sampled_from([b"--b--\r\n", b"--b--", b"--b", b"", b"--c--"])), max_size=12))
async def test_a_form_is_kept_or_refused(forms: list[tuple[list[tuple[bytes, bytes, bytes]], bytes]]) -> None:
    async with live() as server:
        for content, end in forms:
            answered = await server.call("POST", "/v1/files", written(content, end), FORM)
            if answered[0] != 200:
                error_of(answered)


@few
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 3, 4, 7, 30, 1000]), st.booleans(), st.integers(1, 30)), min_size=1, max_size=6
    )
)
async def test_a_body_of_another_length_than_announced_is_no_file(sent: list[tuple[int, bool, int]]) -> None:
    whole = form("file", b"{}\n" * 5, purpose="user_data")
    async with live() as server:
        for off, chunked, size in sent:
            head = f"POST /v1/files HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {server.secret}\r\n"
            head += f"content-type: {FORM['content-type']}\r\nconnection: close\r\n"
            if chunked:
                pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
                body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
                status, _, _ = await server.raw(f"{head}transfer-encoding: chunked\r\n\r\n".encode() + body)
                assert status == 200
            elif off > 0:
                length = max(len(whole) - off, 0)
                error_of(await server.raw(f"{head}content-length: {length}\r\n\r\n".encode() + whole))
            else:
                status, _, _ = await server.raw(f"{head}content-length: {len(whole)}\r\n\r\n".encode() + whole)
                assert status == 200


# Lines


def with_field(name: str, value: Any) -> bytes:
    return msgspec.json.encode(a_line("a") | {name: value})


def with_number(number: bytes) -> bytes:
    return msgspec.json.encode(a_line("n"))[:-2] + b',"max_tokens":' + number + b"}}"


def with_id(id: bytes) -> bytes:
    return msgspec.json.encode(a_line("ID")).replace(b"ID", id)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
lines = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"{}", b"null", b"[" * 5000, b'{"a":' * 5000, b"\xef\xbb\xbf{}", b"9" * 10_000, b"1e999999"]),
    st.builds(
        with_field,
        st.sampled_from(["custom_id", "method", "url", "body", "more"]),
        st.none() | words | st.integers(-5, 5) | st.just("x" * 600),
    ),
    st.builds(
        with_number, st.sampled_from([b"9" * 10_000, b"1e400", b"-1", b"1.5", b"0", b"1e1", b"NaN", b"01", b"-" * 900])
    ),
    st.builds(
        with_id,
        st.sampled_from([b"a", b"b", b"\\ud800", b"\\u0000", b"\x00", b"\xed\xa0\x80", b"\\ud83d\\ude00"]),
    ),
)


FIRST = msgspec.json.encode(a_line("first"))
"""A line that lets a file in, so that the batch finds the others."""


async def batch_of(server: Live, content: bytes) -> dict[str, Any] | None:
    """The batch of an input, once it has ended; None where the input is refused at once."""
    answered = await server.call("POST", "/v1/files", form("file", content, purpose="batch"), FORM)
    if answered[0] != 200:
        assert ".jsonl" in error_of(answered)["message"]
        return None
    file = msgspec.json.decode(answered[2])
    asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    status, batch = await server.json("POST", "/v1/batches", asked)
    assert status == 200, batch
    path = f"/v1/batches/{batch['id']}"
    await server.call("GET", f"{path}/events", headers={"last-event-id": "0", "connection": "close"})
    return (await server.json("GET", path))[1]


def assert_ended(batch: dict[str, Any], content: bytes) -> None:
    assert batch["status"] in TERMINAL, (content, batch)
    if batch["status"] == "failed":
        for error in batch["errors"]["data"]:
            assert error["code"] and error["message"], (content, error)
        assert batch["output_file_id"] is None
    else:
        counts = batch["request_counts"]
        assert counts["total"] == counts["completed"] + counts["failed"] > 0


@few
@given(st.lists(st.lists(lines, min_size=1, max_size=3), min_size=2, max_size=6))
async def test_a_batch_of_any_lines_ends(inputs: list[list[bytes]]) -> None:
    async with live(walks=WALKS) as server:
        for given_lines in inputs:
            for content in (b"\n".join(given_lines), b"\n".join([FIRST, *given_lines])):
                batch = await batch_of(server, content)
                if batch is not None:
                    assert_ended(batch, content)


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("in.jsonl", content)
    return file.getvalue()


LINES = jsonl(a_line("a"))
ARCHIVES = {
    "gzip": gzip.compress(LINES),
    "zstd": b"\x28\xb5\x2f\xfd\x24" + LINES,
    "zip": zipped(LINES),
    "bzip2": b"BZh91AY&SY" + LINES,
    "xz": b"\xfd7zXZ\x00" + LINES,
    "PDF": b"%PDF-1.7\n" + LINES,
    "UTF-16": LINES.decode().encode("utf-16"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
async def test_an_archive_is_no_input_of_a_batch_and_its_sender_hears_why(kind: str) -> None:
    packed = ARCHIVES[kind]
    async with live(walks=WALKS) as server:
        sent = form("file", packed, purpose="batch")
        message = error_of(await server.call("POST", "/v1/files", sent, FORM))["message"]
        assert f"looks like {kind}" in message
        begun = {"filename": "a", "purpose": "batch", "bytes": len(packed), "mime_type": "application/jsonl"}
        _, upload = await server.json("POST", "/v1/uploads", begun)
        path = f"/v1/uploads/{upload['id']}"
        _, _, part = await server.call("POST", f"{path}/parts", form("data", packed), FORM)
        ids = msgspec.json.encode({"part_ids": [msgspec.json.decode(part)["id"]]})
        assert f"looks like {kind}" in error_of(await server.call("POST", f"{path}/complete", ids))["message"]


# Words in paths, queries and headers

raw = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"\x00", b"\xed\xa0\x80", b"\xff" * 30, b"a" * 5000, b"'; drop table x; --", b"%", b"../../x"]),
)
IDS = ["/v1/files/{}", "/v1/files/{}/content", "/v1/batches/{}", "/v1/batches/{}/results", "/v1/models/{}",
       "/v1/batches/{}/events", "/v1/webhook_endpoints/{}", "/openai/deployments/{}/chat/completions"]  # fmt: skip
QUERIES = ["/v1/files?after={}", "/v1/batches?after={}", "/v1/batches?limit={}", "/v1/files?order={}",
           "/openai/batches?$filter={}", "/openai/batches?$orderby={}", "/v1/files?purpose={}",
           "/v1/webhook_endpoints?after={}", "/v1/organization/costs?start_time={}",
           "/v1/organization/costs?start_time=0&page={}",
           "/v1/organization/costs?start_time=1&group_by={}"]  # fmt: skip


@few
@given(st.lists(st.tuples(st.sampled_from(IDS + QUERIES), raw), min_size=10, max_size=20))
async def test_no_id_and_no_query_makes_the_server_fail(asked: list[tuple[str, bytes]]) -> None:
    async with live() as server:
        for path, word in asked:
            answered = await server.call("GET", path.format(quote_from_bytes(word, safe="")))
            if answered[0] != 200:
                error_of(answered)


fields = st.binary(max_size=40).map(lambda data: bytes(b for b in data if b >= 32 and b != 127))
ranges = st.builds(
    "{}={}-{}".format,
    st.sampled_from(["bytes", "lines", "Bytes", ""]),
    st.sampled_from(["", "0", "1", "7", "8", "9" * 30, "-1", "x", "٣", "0,2"]),
    st.sampled_from(["", "0", "3", "9" * 30, "x", "1,4-5"]),
).map(str.encode)
named = st.one_of(
    st.tuples(st.just(b"Range"), ranges | fields),
    st.tuples(
        st.sampled_from([b"If-Range", b"If-None-Match", b"Last-Event-ID", b"X-Request-Id", b"Accept", b"Expect",
                         b"Content-Type", b"Accept-Encoding", b"Origin", b"traceparent", b"Idempotency-Key"]),
        fields | st.sampled_from([b"*", b"W/", b'"', b",", b"9" * 400, b"x" * 5000]),
    ),
)  # fmt: skip


@few
@given(st.lists(st.lists(named, max_size=4), min_size=5, max_size=12))
async def test_no_header_makes_the_server_fail(sent: list[list[tuple[bytes, bytes]]]) -> None:
    async with live() as server:
        made = await server.call("POST", "/v1/files", form("file", b"12345678", purpose="user_data"), FORM)
        id = msgspec.json.decode(made[2])["id"]
        asked = msgspec.json.encode({"filename": "a", "purpose": "user_data", "bytes": 1, "mime_type": "a/b"})
        key = f"host: t\r\nauthorization: Bearer {server.secret}\r\nconnection: close\r\n"
        for extra in sent:
            more = b"".join(b"%b: %b\r\n" % pair for pair in extra)
            start = f"GET /v1/files/{id}/content HTTP/1.1\r\n{key}".encode()
            status, headers, body = await server.raw(start + more + b"\r\n", "GET")
            if status in (200, 206):
                assert body and body in b"12345678" and (status == 206) == ("content-range" in headers)
            elif status != 304:
                error_of((status, headers, body))
            start = f"POST /v1/uploads HTTP/1.1\r\n{key}content-length: {len(asked)}\r\n".encode()
            answered = await server.raw(start + more + b"\r\n" + asked)
            if answered[0] != 200:
                error_of(answered)


@few
@given(st.lists(st.one_of(raw, st.text(max_size=9).map(lambda text: text.encode("utf-8", "replace"))), min_size=4))
async def test_no_key_opens_a_door_but_a_key(keys: list[bytes]) -> None:
    async with live() as server:
        for key in keys:
            plain = bytes(b for b in key if b >= 32 and b != 127)
            for name in (b"authorization: Bearer ", b"authorization: ", b"api-key: "):
                told = await server.raw(b"GET /v1/files HTTP/1.1\r\nhost: t\r\n" + name + plain + b"\r\n\r\n", "GET")
                assert told[0] == 401
                assert not plain.strip() or len(plain) < 4 or plain.decode("latin-1") not in error_of(told)["message"]


# Bodies

NUMBERS = [b"9" * 10_000, b"-" + b"9" * 10_000, b"1e999999", b"0." + b"1" * 10_000, b"9223372036854775808", b"1e3"]
SMALL = {
    "/v1/uploads": b'{"filename":"a","purpose":"batch","mime_type":"a/b","bytes":%b}',
    "/v1/batches": b'{"input_file_id":"x","endpoint":"/v1/chat/completions","completion_window":"24h","priority":%b}',
    "/v1/files": b'{"purpose":%b}',
    "/v1/webhook_endpoints": b'{"name":%b}',
    CHAT: b'{"model":"echo-1","messages":[{"role":"user","content":"a"}],"max_tokens":%b}',
}


@pytest.mark.parametrize("path", SMALL)
async def test_numbers_without_measure_are_answered(path: str) -> None:
    async with live(quota=Quota()) as server:
        for number in NUMBERS:
            answered = await server.call("POST", path, SMALL[path] % number)
            if answered[0] != 200:
                assert len(error_of(answered)["message"]) < 1000


URLS = ["", "x", "http://", "http://[", "http://[::1]:x/", "http://a:99999/", "https://user:pass@127.0.0.1/", "file:///x",
        "http://127.0.0.1%00.example/", "http://\u2024/", "http://\x00/", "http://[fe80::1%25eth0]/", "http://0x7f.1/",
        "http://2130706433/", "http://[::ffff:127.0.0.1]/", "http://" + "a" * 300 + "/", "http://a..b/",
        "gopher://a/",        "http://xn--/", "http://\ud7ff/", "HTTP://169.254.169.254/latest", "http:///x", "http://127.1/",
        "http://a b/"]  # fmt: skip


async def test_no_url_of_a_webhook_leads_inside_or_breaks_anything() -> None:
    async with live() as server:
        for url in URLS:
            asked = msgspec.json.encode({"name": "a", "url": url, "event_types": ["batch.completed"]})
            error = error_of(await server.call("POST", "/v1/webhook_endpoints", asked))
            assert error["param"] == "url", (url, error)
        assert MODEL in server.house.models.states()
