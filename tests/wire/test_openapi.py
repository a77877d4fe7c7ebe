"""Our own OpenAPI document: it knows every route and no other, and real answers are as it says."""

from collections.abc import Mapping
from typing import Any

import jsonschema
import msgspec
import pytest
from starlette.routing import Route

from batchyard.domain.access import Role
from batchyard.domain.price import Price
from batchyard.server.http import health
from batchyard.server.openapi.calls import CALLS
from batchyard.server.openapi.document import document, operations
from batchyard.wiring.webhooks import WebhookSettings
from tests.support.batches import requests
from tests.support.serving import MODEL, Live, live
from tests.wire.openai.test_walks import WALKS

FORM = {"content-type": "multipart/form-data; boundary=b"}
VALIDATOR: Any = jsonschema.Draft202012Validator
CHAT = "/v1/chat/completions"


def form(field: str, content: bytes, **fields: str) -> bytes:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    head = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="in.jsonl"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + content + b"\r\n--b--\r\n"


def strict(schema: Any) -> Any:
    """The same schema, where objects have no other fields than it names."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return schema
    known: dict[str, Any] = {key: strict(value) for key, value in schema.items()}  # pyright: ignore[reportUnknownVariableType]
    return {"additionalProperties": False, **known} if "properties" in known else known


class Reader:
    """Calls a server as its document says, and holds each answer against it."""

    def __init__(self, server: Live, document: dict[str, Any]) -> None:
        self._server = server
        self._document = document
        self.seen: set[tuple[str, str]] = set()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str | None] | None = None,
        prefix: str = "/v1",
        **names: str,
    ) -> Any:
        sent = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        status, told, answer = await self._server.call(method, prefix + path.format(**names), sent, headers)
        expected = self._response(path.partition("?")[0], method, status)
        kind = told.get("content-type", "").partition(";")[0]
        if "content" not in expected:
            assert answer == b"" and status in (204, 304)
            return None
        assert kind in expected["content"], (method, path, status, kind)
        schema = expected["content"][kind].get("schema", {})
        if kind == "application/json":
            self._validate(msgspec.json.decode(answer), schema)
            return msgspec.json.decode(answer)
        return answer

    def _response(self, path: str, method: str, status: int) -> Any:
        responses = self._document["paths"][path][method.lower()]["responses"]
        self.seen.add((method, path))
        assert str(status) in responses, (method, path, status)
        reference = responses[str(status)].get("$ref", "").rpartition("/")[2]
        return self._document["components"]["responses"][reference] if reference else responses[str(status)]

    def _validate(self, value: Any, schema: Any) -> None:
        whole = {"components": self._document["components"], **schema}
        VALIDATOR(strict(whole)).validate(value)


async def read_document(server: Live) -> dict[str, Any]:
    status, headers, body = await server.call("GET", "/openapi.json", headers={"authorization": None})
    assert (status, headers["content-type"]) == (200, "application/json")
    return msgspec.json.decode(body)


async def test_the_document_needs_no_key_and_stands_under_every_prefix() -> None:
    async with live() as server:
        plain = await read_document(server)
        for path in ("/v1/openapi.json", "/openai/openapi.json"):
            _, _, body = await server.call("GET", path, headers={"authorization": None})
            assert msgspec.json.decode(body) == plain
    assert plain["openapi"].startswith("3.1") and "/files" in plain["paths"]


async def test_every_route_is_in_the_document_and_no_other() -> None:
    async with live() as server:
        told = await read_document(server)
        routes = [*operations(server.app.routes)]
    assert {(path, method.upper()) for path, each in told["paths"].items() for method in each} == set(routes)
    assert {f"{method} {path}" for path, method in routes} == set(CALLS)
    ids = [operation["operationId"] for each in told["paths"].values() for operation in each.values()]
    assert len(ids) == len(set(ids))


def test_a_route_that_nobody_described_makes_no_document() -> None:
    with pytest.raises(KeyError, match="GET /new"):
        document([*health.ROUTES, Route("/new", health.healthz)])


def test_every_reference_leads_somewhere() -> None:
    told = document([])
    for name in told["components"]["schemas"]:
        VALIDATOR.check_schema(told["components"]["schemas"][name])
    for reference in references(told):
        place: Any = told
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set[str]().union(*map(references, value))  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(value, dict):
        return set()
    own = {str(value["$ref"])} if "$ref" in value else set[str]()  # pyright: ignore[reportUnknownArgumentType]
    return own.union(*map(references, value.values()))  # pyright: ignore[reportUnknownArgumentType]


async def test_real_answers_are_as_the_document_says() -> None:
    loopback = WebhookSettings(allow_private=("127.0.0.1",))
    price = Price(input=1, output=1)
    async with live(walks=WALKS, price=price, webhooks=loopback) as server:
        reader = Reader(server, await read_document(server))
        await walk_files(reader)
        await walk_batches(reader, server)
        await walk_webhooks(reader)
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/models", "/webhook_event_types"):
            await reader.call("GET", path)
        await reader.call("GET", "/models/{name}", name=MODEL)
        await reader.call("POST", "/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "a"}]})
        await reader.call("GET", "/organization/costs?start_time=1700000000")
        left = {(method, path) for path, method in operations(server.app.routes)} - reader.seen
        models = {"/completions", "/responses", "/embeddings", "/score", "/rerank", "/images/generations"}
        assert {path for _, path in left} == models | {"/batches/{id}/events", "/events"}


async def walk_files(reader: Reader) -> None:
    refused = await reader.call("POST", "/files", b"nothing", {"content-type": "text/plain"})
    assert refused["error"]["message"]
    made = await reader.call("POST", "/files", form("file", b"{}", purpose="user_data"), FORM)
    id = made["id"]
    assert (await reader.call("GET", "/files"))["data"]
    await reader.call("GET", "/files/{id}", id=id)
    await reader.call("GET", "/files/{id}", id="file-none")
    assert await reader.call("GET", "/files/{id}/content", id=id) == b"{}"
    assert await reader.call("GET", "/files/{id}/content", headers={"range": "bytes=1-"}, id=id) == b"}"
    await reader.call("GET", "/files/{id}/content", headers={"range": "bytes=9-"}, id=id)
    await reader.call("GET", "/files/{id}/content", headers={"if-none-match": "*"}, id=id)
    await reader.call("GET", "/files", headers={"authorization": None})
    await reader.call("DELETE", "/files/{id}", id=id)
    begun = {"filename": "a", "purpose": "user_data", "bytes": 2, "mime_type": "text/plain"}
    upload = await reader.call("POST", "/uploads", begun)
    part = await reader.call("POST", "/uploads/{id}/parts", form("data", b"ab"), FORM, id=upload["id"])
    done = await reader.call("POST", "/uploads/{id}/complete", {"part_ids": [part["id"]]}, id=upload["id"])
    assert done["file"]["bytes"] == 2
    await reader.call("POST", "/uploads/{id}/cancel", id=upload["id"])


async def walk_batches(reader: Reader, server: Live) -> None:
    content = requests(2, MODEL)
    made = await reader.call("POST", "/files", form("file", content, purpose="batch"), FORM, "/openai/v1")
    asked = {"input_file_id": made["id"], "endpoint": CHAT, "completion_window": "24h", "metadata": {"a": "b"}}
    batch = await reader.call("POST", "/batches", asked, prefix="/openai/v1")
    await ended(server, batch["id"])
    done = await reader.call("GET", "/batches/{id}", id=batch["id"])
    assert done["status"] == "completed" and done["usage"]["total_tokens"] and done["cost"]
    broken = await reader.call("POST", "/files", form("file", b"{}\n", purpose="batch"), FORM)
    failed = await reader.call("POST", "/batches", asked | {"input_file_id": broken["id"]})
    await ended(server, failed["id"])
    assert (await reader.call("GET", "/batches/{id}", id=failed["id"]))["errors"]["data"]
    assert len((await reader.call("GET", "/batches?limit=1"))["data"]) == 1
    await reader.call("GET", "/batches?limit=0")
    await reader.call("POST", "/batches/{id}/cancel", id=batch["id"])
    await reader.call("POST", "/batches/{id}/retry", id=batch["id"])
    assert (await reader.call("GET", "/batches/{id}/results", id=batch["id"])).count(b"\n") == 2
    await reader.call("POST", "/batches", asked | {"metadata": 3})


async def ended(server: Live, id: str) -> None:
    """Wait until a batch has ended, as its events tell."""
    await server.call("GET", f"/v1/batches/{id}/events", headers={"last-event-id": "0", "connection": "close"})


async def walk_webhooks(reader: Reader) -> None:
    asked = {"name": "a", "url": "http://127.0.0.1:9/", "event_types": ["batch.completed"]}
    made = await reader.call("POST", "/webhook_endpoints", asked)
    id = made["id"]
    await reader.call("POST", "/webhook_endpoints", asked | {"url": "http://10.0.0.1/"})
    await reader.call("GET", "/webhook_endpoints")
    await reader.call("GET", "/webhook_endpoints/{id}", id=id)
    await reader.call("POST", "/webhook_endpoints/{id}", {"name": "b"}, id=id)
    await reader.call("POST", "/webhook_endpoints/{id}/rotate_secret", id=id)
    await reader.call("POST", "/webhook_endpoints/{id}/test", {"event_type": "batch.failed"}, id=id)
    await reader.call("DELETE", "/webhook_endpoints/{id}", id=id)


async def test_a_key_that_may_not_gets_what_the_document_says() -> None:
    async with live() as server:
        reader = Reader(server, await read_document(server))
        viewer = {"authorization": f"Bearer {await server.key(Role.VIEWER)}"}
        told = await reader.call("POST", "/batches", {}, viewer)
    assert told["error"]["type"] == "permission_error"
