"""A server that needs no keys: whoever reaches it is its administrator, but no web page is."""

import pytest

from batchyard.domain.errors import Invalid
from batchyard.server.options import ModelOptions, ServeOptions, check
from tests.support.serving import MODEL, live


async def test_any_key_will_do() -> None:
    async with live(keys=False) as server, server.client(key="anything") as client:
        file = await client.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        assert [each.id async for each in client.files.list()] == [file.id]
        said = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
        assert said.choices[0].message.content == "hi"


async def test_none_is_needed() -> None:
    async with live(keys=False) as server:
        status, _, _ = await server.call("GET", "/v1/models", headers={"authorization": None, "host": "localhost:80"})
        assert status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1", "origin": "https://example.com"},
        {"host": "127.0.0.1", "origin": "null"},
        {"host": "rebound.example.com"},
    ],
)
async def test_a_web_page_is_refused(headers: dict[str, str]) -> None:
    async with live(keys=False) as server:
        status, _, body = await server.call("GET", "/v1/models", headers={"authorization": None, **headers})
        assert status == 403 and b"not to web pages" in body


async def test_with_keys_pages_may_call_and_callers_must_show_theirs() -> None:
    async with live() as server:
        page = {"origin": "https://example.com", "host": "batch.example.com"}
        assert (await server.call("GET", "/v1/models", headers=page))[0] == 200
        assert (await server.call("GET", "/v1/models", headers={"authorization": None}))[0] == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_strangers_never_reach_a_server_without_keys(host: str) -> None:
    models = (ModelOptions(engine="echo"),)
    with pytest.raises(Invalid, match="administrator"):
        check(ServeOptions(data_folder="", host=host, keys=False, models=models))
    check(ServeOptions(data_folder="", host="127.0.0.1", keys=False, models=models))
