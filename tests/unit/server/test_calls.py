"""What every call meets, over a real socket: keys, limits, routes, ids, and the end of a call."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from batchyard.domain.request import Request
from batchyard.domain.result import Failure, Fault, Reply
from batchyard.server.house import Limits
from tests.support.serving import MODEL, Live, live, read_answer

CHAT = "/v1/chat/completions"
BODY = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]})


def error_of(body: bytes) -> dict[str, str | None]:
    error = msgspec.json.decode(body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    return error


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/openai/models?api-version=x", "/openai/v1/models"])
async def test_either_key_header_opens_every_prefix(path: str) -> None:
    async with live() as server:
        bearer, _, _ = await server.call("GET", path)
        azure, _, _ = await server.call("GET", path, headers={"authorization": None, "api-key": server.secret})
    assert (bearer, azure) == (200, 200)


CALLS = ["GET /v1/models", "GET /v1/models/x", f"POST {CHAT}", "GET /openai/models", "POST /v1/files", "GET /v1/files",
         "GET /v1/files/x", "DELETE /v1/files/x", "GET /v1/files/x/content", "POST /v1/uploads",
         "POST /openai/uploads/x/parts", "POST /v1/uploads/x/complete", "POST /v1/uploads/x/cancel", "POST /v1/batches",
         "GET /openai/v1/batches", "GET /v1/batches/x", "POST /v1/batches/x/cancel"]  # fmt: skip


@pytest.mark.parametrize("header", [{"authorization": None}, {"authorization": "Bearer wrong"}, {"api-key": "wrong"}])
async def test_no_or_a_wrong_key_is_a_401_with_an_envelope(header: dict[str, str | None]) -> None:
    async with live() as server:
        for method, path in (call.split() for call in CALLS):
            body = BODY if method == "POST" else b""
            status, headers, answer = await server.call(method, path, body, {"authorization": None} | header)
            assert status == 401 and headers["content-type"] == "application/json"
            assert "API key" in str(error_of(answer)["message"])
            unknown = None if header == {"authorization": None} else "invalid_api_key"
            assert error_of(answer)["code"] == ("401" if path.startswith("/openai") else unknown)


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/nowhere", CHAT, "/openai/nowhere", "/metrics"])
async def test_every_answer_has_a_request_id_of_its_own(path: str) -> None:
    async with live() as server:
        _, first, _ = await server.call("GET", path)
        _, second, _ = await server.call("GET", path)
    assert first["x-request-id"].startswith("req_") and first["x-request-id"] != second["x-request-id"]


async def test_an_unknown_path_and_a_wrong_method_get_the_envelope() -> None:
    async with live() as server:
        unknown, _, why = await server.call("GET", "/v1/fles")
        azure, _, why_azure = await server.call("GET", "/openai/fles")
        wrong, headers, why_wrong = await server.call("DELETE", CHAT)
    assert (unknown, error_of(why)["code"]) == (404, "unknown_url")
    assert "/v1/fles" in str(error_of(why)["message"])
    assert (azure, error_of(why_azure)["code"]) == (404, "404")
    assert (wrong, error_of(why_wrong)["code"], headers["allow"]) == (405, None, "POST")


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        (b"", "parse"),
        (b"{", "parse"),
        (b'{"model": "\xff"}', "parse"),
        (b"[]", "JSON object"),
        (b'{"model": ' + b"[" * 200 + b"]" * 200 + b"}", "deeper"),
        (b'{"model": ' + b"[" * 100_000, "parse"),
        (b'{"model": 7}', "expected a string"),
        (b'{"model": "m", "stream": "yes"}', "expected a boolean"),
        (b'{"model": "m", "stream_options": []}', "expected an object"),
    ],
)
async def test_a_body_that_cannot_be_read_says_why(body: bytes, fragment: str) -> None:
    async with live() as server:
        status, _, answer = await server.call("POST", CHAT, body)
    assert status == 400 and fragment in str(error_of(answer)["message"])


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused_before_it_is_whole(chunked: bool) -> None:
    async with live(limits=Limits(inference_bytes=1000)) as server:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {server.secret}\r\n"
        if chunked:  # small enough to be read to its end, so that the connection can be kept
            request = (head + "transfer-encoding: chunked\r\n\r\n").encode()
            request += (b"20000\r\n" + b"x" * 0x20000 + b"\r\n") * 8 + b"0\r\n\r\n"
        else:
            request = (head + f"content-length: {8 << 20}\r\n\r\n").encode() + b"x" * (5 << 20)
        status, headers, body = await server.raw(request)
    assert (status, error_of(body)["code"]) == (413, "request_too_large")
    assert headers.get("connection") == (None if chunked else "close")


async def test_a_client_that_expects_a_100_is_refused_without_one() -> None:
    async with live(limits=Limits(inference_bytes=1000)) as server:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {server.secret}\r\nexpect: 100-continue\r\n"
        status, headers, _ = await server.raw((head + "content-length: 5000\r\n\r\n").encode())
    assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    ("failure", "status", "retry"),
    [
        (Failure("engine_down", "gone", Fault.DOWN), 503, {"retry-after": "1"}),
        (Failure("full", "full", Fault.OVERLOADED, 7.0), 503, {"retry-after": "7"}),
        (Failure("connection_lost", "lost", Fault.LOST), 502, {}),
        (Failure("engine_crashed", "died", Fault.CRASHED), 502, {}),
        (Failure("request_timeout", "slow", Fault.LOST), 504, {}),
        (Failure("broken", "cannot", Fault.FINAL), 500, {"x-should-retry": "false"}),
    ],
)
async def test_a_failure_says_whether_to_ask_again(failure: Failure, status: int, retry: dict[str, str]) -> None:
    async def script(request: Request) -> Reply:
        return failure

    async with live(script=script) as server:
        got, headers, body = await server.call("POST", CHAT, BODY)
    assert got == status and error_of(body)["code"] == failure.code
    assert {k: v for k, v in headers.items() if k in ("retry-after", "x-should-retry")} == retry


async def test_an_engine_that_breaks_its_contract_is_a_500_that_tells_nothing() -> None:
    async def script(request: Request) -> Reply:
        raise RuntimeError("secret detail")

    async with live(script=script) as server:
        status, headers, body = await server.call("POST", CHAT, BODY)
    assert (status, error_of(body)["type"]) == (500, "server_error")
    assert b"secret" not in body and headers["x-request-id"]


class Slow:
    """An engine's script that waits to be let go, and notes when it was given up."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.given_up = asyncio.Event()

    async def __call__(self, request: Request) -> Reply | None:
        self.asked.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        return None


async def post_slowly(server: Live) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {server.secret}\r\n"
    writer.write(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY)
    return reader, writer


async def test_a_caller_who_hangs_up_frees_the_engine() -> None:
    slow = Slow()
    async with live(script=slow) as server:
        _, writer = await post_slowly(server)
        await slow.asked.wait()
        assert server.house.interactive.inflight == 1
        writer.close()
        await slow.given_up.wait()
    assert server.house.interactive.inflight == 0


async def test_an_engine_that_is_too_slow_is_given_up() -> None:
    slow = Slow()
    async with live(script=slow, timeout_seconds=0.01) as server:
        status, _, body = await server.call("POST", CHAT, BODY)
    assert (status, error_of(body)["code"]) == (504, "request_timeout")
    assert slow.given_up.is_set()


async def test_a_stop_lets_calls_under_way_end() -> None:
    slow = Slow()
    async with live(script=slow) as server:
        reader, writer = await post_slowly(server)
        await slow.asked.wait()
        server.stop.set()
        await refused(lambda: asyncio.open_connection("127.0.0.1", server.port))
        slow.go.set()
        status, _, _ = await read_answer(reader)
        writer.close()
    assert status == 200


async def refused(connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]) -> None:
    """Returns once nobody listens any more."""
    while True:
        try:
            _, writer = await connect()
        except ConnectionError:
            return
        writer.close()
        await asyncio.sleep(0)


async def test_readiness_says_what_is_waited_for() -> None:
    async with live() as server:
        house = server.house
        house.ready = "the model is loading"
        waiting, _, reason = await server.call("GET", "/readyz", headers={"authorization": None})
        refused_call, headers, _ = await server.call("POST", CHAT, BODY)
        house.ready = None
        ready, _, _ = await server.call("GET", "/readyz")
        alive, _, _ = await server.call("GET", "/healthz", headers={"authorization": None})
    assert waiting == 503 and b"the model is loading" in reason
    assert refused_call == 503 and headers["retry-after"] == "1"
    assert (ready, alive) == (200, 200)


async def test_metrics_count_calls_and_tokens() -> None:
    async with live() as server:
        await server.call("POST", CHAT, BODY)
        await server.call("GET", "/v1/models/nobody")
        await server.call("GET", "/nowhere/at/all")
        _, headers, page = await server.call("GET", "/metrics", headers={"authorization": None})
    assert headers["content-type"].startswith("text/plain")
    for line in (
        b'batchyard_http_requests_total{method="POST",route="/chat/completions",status="200"} 1.0',
        b'batchyard_http_requests_total{method="GET",route="/models/{name:path}",status="404"} 1.0',
        b'batchyard_http_requests_total{method="any",route="unknown",status="404"} 1.0',
        b'batchyard_tokens_total{kind="input",mode="interactive",model="echo-1"} 1.0',
    ):
        assert line in page
