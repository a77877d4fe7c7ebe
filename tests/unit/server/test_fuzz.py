"""Whatever is sent to the doors, the answer is an envelope and never our fault."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.serving import MODEL, live

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "model messages stream stream_options input_file_id endpoint completion_window metadata output_expires_after "
    "filename purpose bytes mime_type part_ids md5 input prompt encoding_format"
)
CALLS = (
    "/files /batches /uploads /models /chat/completions /completions /embeddings /responses /score /rerank /nothing "
    "/deployments/echo-1/chat/completions"
)
fields = st.dictionaries(
    st.sampled_from(NAMES.split(" ")),
    json | st.just(MODEL) | st.just("/v1/chat/completions") | st.just("24h") | st.just("batch"),
)
raw_bytes = st.binary(max_size=60) | fields.map(msgspec.json.encode)
prefixes = st.sampled_from(["/v1", "", "/openai", "/openai/v1"])
segments = st.sampled_from(["x", "%00", "%2F", "%ff", "..%2f..", "file-1", "batch_1", "%E2%80%A8", "a" * 300])
paths = st.one_of(
    st.sampled_from(CALLS.split(" ")),
    st.builds("/{}/{}".format, st.sampled_from(["files", "batches", "uploads", "models", "deployments"]), segments),
    st.builds("/files/{}/content".format, segments),
    st.builds("/{}/{}/{}".format, st.sampled_from(["batches", "uploads"]), segments,
              st.sampled_from(["cancel", "complete", "parts"])),
)  # fmt: skip
values = st.sampled_from(["", "0", "-1", "1", "9" * 25, "x", "desc", "file-1", "%00", "%ff", "status%20eq%20'failed'"])
queries = st.lists(
    st.builds("{}={}".format, st.sampled_from(["after", "limit", "order", "purpose", "$filter", "$orderby"]), values),
    max_size=2,
).map("&".join)
headers = st.dictionaries(
    st.sampled_from(["range", "if-range", "if-none-match", "idempotency-key", "accept", "content-type"]),
    st.sampled_from(["", "x", "bytes=0-", "bytes=-", '"a"', "multipart/form-data; boundary=b", "application/json"]),
)
calls = st.tuples(
    st.sampled_from(["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"]), prefixes, paths, queries, raw_bytes, headers
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls, min_size=8, max_size=16))
async def test_no_call_makes_the_server_fail(sent: list[tuple[str, str, str, str, bytes, dict[str, str]]]) -> None:
    async with live() as server:
        for method, prefix, path, query, body, extra in sent:
            status, told, answer = await server.call(method, f"{prefix}{path}?{query}", body, extra)
            assert status < 500, (method, path, query, body, answer)
            assert told["x-request-id"].startswith("req_")
            if status >= 400:
                error: dict[str, Any] = msgspec.json.decode(answer)["error"]
                assert sorted(error) == ["code", "message", "param", "type"] and error["message"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=8))
async def test_no_form_makes_the_server_fail(bodies: list[bytes]) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
    async with live() as server:
        for body in bodies:
            for start in (b"", form, form + b'Content-Disposition: form-data; name="file"\r\n\r\n'):
                headers = {"content-type": "multipart/form-data; boundary=b"}
                status, _, answer = await server.call("POST", "/v1/files", start + body, headers)
                assert status < 500, (start + body, answer)
