"""A live server on loopback, in the test's own event loop, behind real HTTP."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, BaseModel, OpenAI

from batchyard.clock import SystemClock
from batchyard.domain.errors import Unauthorized
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.server.app import build_app
from batchyard.server.house import House, Limits
from batchyard.server.interactive import Interactive
from batchyard.server.listen import bind, serve
from batchyard.server.models import Model, Models
from batchyard.telemetry.metrics import Metrics

SECRET = "sk-test"
MODEL = "echo-1"
ENDPOINTS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/score"})


class OneKey:
    """Knows one secret."""

    async def authenticate(self, secret: str | None) -> str:
        if secret != SECRET:
            raise Unauthorized("Incorrect API key provided." if secret else "You did not provide an API key.")
        return "caller"


def a_house(
    *,
    script: echo.Script | None = None,
    names: tuple[str, ...] = (MODEL,),
    limits: Limits | None = None,
    timeout_seconds: float = 600.0,
) -> House:
    """A house of echo models."""
    engine = echo.open(echo.Config(script=script))
    abilities = Abilities(endpoints=ENDPOINTS, models=frozenset(names))
    metrics = Metrics()
    return House(
        access=OneKey(),
        models=Models(Model(name, engine, abilities, 1_790_000_000) for name in names),
        interactive=Interactive(metrics, timeout_seconds=timeout_seconds),
        metrics=metrics,
        ids=random.Random(7),
        clock=SystemClock(),
        limits=limits or Limits(),
    )


@dataclass
class Live:
    """A running server and clients of it."""

    house: House
    port: int
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, path: str = "/v1", key: str = SECRET) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url + path, api_key=key, _strict_response_validation=True, max_retries=0)

    def sync_client(self, path: str = "/v1", key: str = SECRET) -> OpenAI:
        return OpenAI(base_url=self.url + path, api_key=key, _strict_response_validation=True, max_retries=0)

    def azure(self, key: str = SECRET) -> AsyncAzureOpenAI:
        return AsyncAzureOpenAI(
            azure_endpoint=self.url, api_key=key, api_version="2025-04-01-preview",
            _strict_response_validation=True, max_retries=0,
        )  # fmt: skip

    def sync_azure(self, key: str = SECRET) -> AzureOpenAI:
        return AzureOpenAI(
            azure_endpoint=self.url, api_key=key, api_version="2025-04-01-preview",
            _strict_response_validation=True, max_retries=0,
        )  # fmt: skip

    async def raw(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes as they are, read one answer until the server closes or the length is reached."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            return await read_answer(reader)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def call(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One call with the test's key."""
        fields = {"host": "test", "authorization": f"Bearer {SECRET}", "content-length": str(len(body))}
        fields |= headers or {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v)]
        return await self.raw("\r\n".join([*lines, "", ""]).encode() + body)


def request_id(answer: BaseModel) -> str | None:
    """The id that a client read from an answer's header."""
    return answer._request_id  # pyright: ignore[reportPrivateUsage]


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if "content-length" in headers:
        return status, headers, await reader.readexactly(int(headers["content-length"]))
    return status, headers, await reader.read()


@asynccontextmanager
async def live(house: House) -> AsyncGenerator[Live]:
    """Serve a house on a free port until the block ends."""
    sock = bind("127.0.0.1", 0)
    server = Live(house, sock.getsockname()[1])
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(build_app(house), sock, server.stop, grace_seconds=5))
        try:
            yield server
        finally:
            server.stop.set()
