"""The http engine over real sockets: where it sends what, as whom, and through which upstream."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from rich.pretty import pretty_repr

from batchyard.domain.errors import Invalid, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply, Usage
from batchyard.engine import Engine
from batchyard.engines import http
from tests.support.upstream import Upstream, answer, closes_early, good, hangs, says

CHAT = "/v1/chat/completions"
SECRET = "sk-very-secret"


def a_request(line: int = 0, endpoint: str = CHAT) -> Request:
    return Request(line, f"id-{line}", endpoint, "m", b'{"model":"m","n":%d}' % line)


@asynccontextmanager
async def an_engine(*urls: str, start: bool = True, **options: Any) -> AsyncGenerator[Engine]:
    engine = http.open(msgspec.convert({"urls": urls, **options}, http.Config))
    try:
        if start:
            await engine.start()
        yield engine
    finally:
        await engine.close()


def a_dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("/proxy", "/proxy/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        (
            "/openai/deployments/d?api-version=2024-10-21",
            "/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        ("/openai/v1?api-version=preview", "/openai/v1/chat/completions?api-version=preview"),
    ],
)
async def test_an_endpoint_is_found_below_any_base_url(base: str, target: str) -> None:
    async with Upstream() as upstream, an_engine(upstream.url + base) as engine:
        reply = await engine.infer(a_request())
        assert isinstance(reply, Answer)
        assert reply.usage == Usage(3, 2)
        assert upstream.posts[0].target == target


async def test_requests_say_who_asks_and_carry_the_body_as_it_is() -> None:
    options: dict[str, Any] = {
        "api_key": SECRET,
        "organization": "org-1",
        "project": "p-1",
        "headers": {"X-Team": "blue"},
    }
    async with Upstream() as upstream, an_engine(upstream.url, **options) as engine:
        await engine.infer(a_request(7, "/v1/embeddings"))
        asked = upstream.posts[0]
        assert asked.target == "/v1/embeddings"
        assert asked.body == a_request(7).body
        assert asked.headers["host"] == f"localhost:{upstream.port}"
        assert asked.headers["authorization"] == f"Bearer {SECRET}"
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["openai-organization"] == "org-1"
        assert asked.headers["openai-project"] == "p-1"
        assert asked.headers["x-team"] == "blue"


async def test_azure_gets_its_key_in_its_own_header() -> None:
    base = "/openai/deployments/d?api-version=1"
    async with Upstream() as upstream, an_engine(upstream.url + base, api_key=SECRET) as engine:
        await engine.infer(a_request())
        assert upstream.posts[0].headers["api-key"] == SECRET
        assert "authorization" not in upstream.posts[0].headers


async def test_a_header_of_the_users_goes_before_ours() -> None:
    options: dict[str, Any] = {"api_key": SECRET, "headers": {"Authorization": "Basic abc"}}
    async with Upstream() as upstream, an_engine(upstream.url, **options) as engine:
        await engine.infer(a_request())
        assert upstream.posts[0].headers["authorization"] == "Basic abc"


def test_a_secret_is_not_in_the_repr() -> None:
    config = http.Config(urls=("http://h",), api_key=SECRET, headers={"x-key": SECRET})
    assert SECRET not in repr(config) + str(config) + pretty_repr(config)
    assert "http://h" in repr(config)


@pytest.mark.parametrize(
    "options",
    [
        {"urls": ()},
        {"urls": ("h:8000",)},
        {"urls": ("http://h\r\nx: y",)},
        {"urls": (f"http://u:{SECRET}@h",)},
        {"urls": ("http://h",), "api_key": f"{SECRET}\n x: y"},
        {"urls": ("http://h",), "headers": {"bad name": "x"}},
    ],
)
def test_what_cannot_be_sent_is_refused_when_it_is_opened_and_without_the_secret(options: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        http.open(msgspec.convert(options, http.Config))
    assert caught.value.remedy
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("key", [SECRET, None])
async def test_a_server_that_refuses_the_key_is_unavailable_and_names_the_variable(
    status: int, key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Upstream(models=says(answer(b"{}", status))) as upstream:
        with pytest.raises(Unavailable, match="MY_KEY") as caught:
            async with an_engine(upstream.url, api_key=key, api_key_name="MY_KEY"):
                pass
    assert SECRET not in str(caught.value) + caplog.text


@pytest.mark.parametrize(
    "models", [says(answer(b"", 404)), says(answer(b"oops", 500)), says(b"not http"), closes_early()]
)
async def test_whatever_else_a_server_says_to_the_probe_it_can_be_used(models: Callable[..., object]) -> None:
    async with Upstream(models=models) as upstream, an_engine(upstream.url) as engine:  # type: ignore[arg-type]
        assert isinstance(await engine.infer(a_request()), Answer)


async def test_a_server_that_hangs_on_the_probe_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchyard.engines.http.engine.PROBE_SECONDS", 0.02)
    async with Upstream(models=hangs()) as upstream, an_engine(upstream.url) as engine:
        assert isinstance(await engine.infer(a_request()), Answer)


async def test_a_server_that_is_not_there_is_waited_for() -> None:
    port = a_dead_port()
    async with asyncio.TaskGroup() as group, an_engine(f"http://localhost:{port}", start=False) as engine:
        starting = group.create_task(engine.start())
        await asyncio.sleep(0)
        async with Upstream(port=port) as upstream:
            abilities = await starting
            assert str(port) in abilities.description
            assert isinstance(await engine.infer(a_request()), Answer)
            assert upstream.posts


async def test_a_server_that_never_comes_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="refused") as caught:
        async with an_engine(f"http://localhost:{a_dead_port()}", start_timeout_seconds=0.0):
            pass
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("move", "code"),
    [
        (closes_early(b"HTTP/1.1 200 OK\r\n"), "connection_lost"),
        (says(b"nonsense\r\n\r\n"), "bad_answer"),
        (says(answer(b"", 204)), "bad_answer"),
        (says(answer(b"[]")), "bad_answer"),
    ],
)
async def test_a_broken_answer_is_a_lost_attempt(move: Callable[..., object], code: str) -> None:
    async with Upstream(move) as upstream, an_engine(upstream.url) as engine:  # type: ignore[arg-type]
        reply = await engine.infer(a_request())
        assert isinstance(reply, Failure)
        assert (reply.code, reply.fault) == (code, Fault.LOST)


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    async with Upstream() as other:
        away = says(answer(b"", 307, {"location": f"{other.url}/v1"}))
        async with Upstream(away) as upstream, an_engine(upstream.url, api_key=SECRET) as engine:
            reply = await engine.infer(a_request())
            assert isinstance(reply, Answer)
            assert reply.status == 307
            assert not other.asked


async def infer_all(engine: Engine, count: int) -> list[Reply]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(engine.infer(a_request(line))) for line in range(count)]
    return [task.result() for task in tasks]


async def test_several_upstreams_share_the_requests() -> None:
    async with Upstream() as one, Upstream() as two, an_engine(one.url, two.url) as engine:
        assert all(isinstance(reply, Answer) for reply in await infer_all(engine, 30))
        assert [len(upstream.posts) for upstream in (one, two)] == [15, 15]
        for line in range(4):
            await engine.infer(a_request(line))
        assert [len(upstream.posts) for upstream in (one, two)] == [17, 17]


async def test_the_least_busy_upstream_is_asked() -> None:
    async with Upstream(default=hangs()) as stuck, Upstream() as free, an_engine(stuck.url, free.url) as engine:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(engine.infer(a_request())) for _ in range(2)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for line in range(10):
                assert isinstance(await engine.infer(a_request(line)), Answer)
            await engine.close()
        assert len(stuck.posts) == 1


async def test_a_dead_upstream_rests_while_others_serve() -> None:
    async with Upstream() as alive, an_engine(f"http://localhost:{a_dead_port()}", alive.url) as engine:
        assert all(isinstance(reply, Answer) for reply in await infer_all(engine, 20))
        assert len(alive.posts) == 20


async def test_when_all_upstreams_are_dead_the_engine_is_down() -> None:
    one, two = Upstream(), Upstream()
    async with one, two, an_engine(one.url, two.url) as engine:
        await one.close()
        await two.close()
        replies = [await engine.infer(a_request()) for _ in range(3)]
        assert [reply.fault for reply in replies if isinstance(reply, Failure)] == [Fault.DOWN] * 3
        assert 0 < (replies[-1].retry_after_seconds or 0) <= 0.25, "they rest, and it says for how long"


async def test_an_upstream_that_is_full_rests_and_its_request_may_go_elsewhere_at_once() -> None:
    full = says(answer(b'{"error":{}}', 429, {"retry_after": "60"}))
    async with Upstream(default=full) as busy, Upstream() as free, an_engine(busy.url, free.url) as engine:
        replies = [await engine.infer(a_request(line)) for line in range(6)]
        refused = [reply for reply in replies if isinstance(reply, Answer) and reply.status == 429]
        assert [reply.retry_after_seconds for reply in refused] == [None]
        assert (len(busy.posts), len(free.posts)) == (1, 5)


async def test_a_single_upstream_that_is_full_says_for_how_long() -> None:
    async with Upstream(good(429, retry_after="7")) as upstream, an_engine(upstream.url) as engine:
        reply = await engine.infer(a_request())
        assert isinstance(reply, Answer)
        assert reply.retry_after_seconds == 7.0
