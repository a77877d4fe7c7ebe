"""A live server on loopback, in the test's own event loop, behind real HTTP, with its data in a folder of its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, BaseModel, OpenAI

from batchyard.blobs import local
from batchyard.clock import Clock, SystemClock
from batchyard.disks.local import LocalDisk
from batchyard.domain.access import HOME, Quota, Role
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.batch_walk import tidy
from batchyard.pipeline.calendar import Calendar, CalendarSettings
from batchyard.pipeline.notice import NoticedStore
from batchyard.pipeline.share import Sharing
from batchyard.server.app import build_app
from batchyard.server.house import House, Limits
from batchyard.server.interactive import Interactive
from batchyard.server.listen import bind, serve
from batchyard.server.models import Model, Models
from batchyard.service.access import Access, Caller
from batchyard.service.batches import Batches
from batchyard.service.files import Files
from batchyard.service.ids import Ids
from batchyard.service.rules import BatchRules, FileRules, UploadRules
from batchyard.service.uploads import Uploads
from batchyard.stores import sqlite
from batchyard.telemetry.metrics import Metrics
from batchyard.wiring.batches import Engines, Yard, batch_parts, walk_in_a_thread

T = TypeVar("T")

MODEL = "echo-1"
ENDPOINTS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/score"})
API_VERSION = "2025-04-01-preview"
OPERATOR = Caller(HOME, Role.ADMIN)

Answered = tuple[int, dict[str, str], bytes]


async def inline(step: Callable[[], T]) -> T:
    """An offload that offloads nothing: what a test starts has happened when it returns."""
    return step()


@dataclass(kw_only=True)
class Options:
    """What a test's server is made of. It lets batches walk only where a test says how (`walks`)."""

    script: echo.Script | None = None
    names: tuple[str, ...] = (MODEL,)
    limits: Limits = field(default_factory=Limits)
    timeout_seconds: float = 600.0
    quota: Quota = field(default_factory=Quota)
    clock: Clock = field(default_factory=SystemClock)
    upload_rules: UploadRules | None = None
    file_rules: FileRules | None = None
    batch_rules: BatchRules | None = None
    walks: CalendarSettings | None = None
    slots: int | None = None


@dataclass
class Live:
    """A running server, and clients of it that hold its first key, an administrator's."""

    house: House
    store: sqlite.SqliteStore
    folder: str
    port: int
    secret: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, path: str = "/v1", key: str | None = None) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url + path, **self._of_client(key))

    def sync_client(self, path: str = "/v1", key: str | None = None) -> OpenAI:
        return OpenAI(base_url=self.url + path, **self._of_client(key))

    def azure(self, key: str | None = None) -> AsyncAzureOpenAI:
        return AsyncAzureOpenAI(azure_endpoint=self.url, api_version=API_VERSION, **self._of_client(key))

    def sync_azure(self, key: str | None = None) -> AzureOpenAI:
        return AzureOpenAI(azure_endpoint=self.url, api_version=API_VERSION, **self._of_client(key))

    async def key(self, role: Role, *, project: str | None = None) -> str:
        """The secret of a new key, in a new project where one is named."""
        access = self.house.access
        tenant = HOME if project is None else (await access.create_project(OPERATOR, project)).id
        return (await access.create_key(OPERATOR, "test", role, project=tenant))[1]

    async def call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str | None] | None = None
    ) -> Answered:
        """One call with the test's key. A header of None is left out."""
        fields: dict[str, str | None] = {"host": "test", "authorization": f"Bearer {self.secret}"}
        fields["content-length"] = str(len(body))
        fields.update(headers or {})
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
        return await self.raw("\r\n".join([*lines, "", ""]).encode() + body, method)

    async def json(self, method: str, path: str, value: object = None) -> tuple[int, Any]:
        """One call with JSON in and out."""
        body = b"" if value is None else msgspec.json.encode(value)
        status, _, answer = await self.call(method, path, body)
        return status, msgspec.json.decode(answer)

    async def raw(self, request: bytes, method: str = "POST") -> Answered:
        """Send bytes as they are, read one answer until the server closes or the length is reached."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            return await read_answer(reader, method)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _of_client(self, key: str | None) -> dict[str, Any]:
        return {"api_key": key or self.secret, "_strict_response_validation": True, "max_retries": 0}


def request_id(answer: BaseModel) -> str | None:
    """The id that a client read from an answer's header."""
    return answer._request_id  # pyright: ignore[reportPrivateUsage]


async def read_answer(reader: asyncio.StreamReader, method: str = "POST") -> Answered:
    """Status, headers in lower case, and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if method == "HEAD" or status == 304:
        return status, headers, b""
    if "content-length" in headers:
        return status, headers, await reader.readexactly(int(headers["content-length"]))
    return status, headers, await reader.read()


@asynccontextmanager
async def live(**options: Any) -> AsyncGenerator[Live]:
    """Serve on a free port until the block ends. For `options` see Options."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="batchyard-test-"))
        store = await sqlite.open(sqlite.Config(path=":memory:"), inline)
        stack.push_async_callback(store.close)
        made = Options(**options)
        house, calendar = await _house(made, store, folder)
        first = await house.access.first_admin_key()
        assert first is not None
        sock = bind("127.0.0.1", 0)
        server = Live(house, store, folder, sock.getsockname()[1], first[1])
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(serve(build_app(house), sock, server.stop, grace_seconds=5))
        if calendar is not None:
            group.create_task(calendar.run(server.stop))
        stack.callback(server.stop.set)
        yield server


async def _house(options: Options, store: sqlite.SqliteStore, folder: str) -> tuple[House, Calendar | None]:
    engine = echo.open(echo.Config(script=options.script))
    abilities = Abilities(endpoints=ENDPOINTS, models=frozenset(options.names), slots=options.slots)
    metrics, random, clock = Metrics(), Random(7), options.clock
    ids, blobs = Ids(random), await local.open(local.Config(folder=f"{folder}/blobs"), LocalDisk(), inline)
    models, engines = Models(), Engines()
    for name in options.names:
        sharing = Sharing(engine, abilities, clock)
        engines.add(name, sharing)
        models.add(Model(name, sharing.front(), abilities, 1_790_000_000))

    def quota_of(project: str) -> Quota:
        return options.quota

    yard = Yard(
        store=store, blobs=blobs, disk=LocalDisk(), clock=clock, ids=ids, random=random, models=models,
        engines=engines, quota_of=quota_of, folder=f"{folder}/runs", count_seconds=0.02,
    )  # fmt: skip
    parts = batch_parts(yard)
    await tidy(parts, inline)
    calendar = Calendar(store, clock, partial(walk_in_a_thread, parts), options.walks) if options.walks else None
    noticed = NoticedStore(store, calendar.notice) if calendar else store
    house = House(
        access=Access(store, clock, ids),
        files=Files(store, blobs, clock, ids, quota_of, options.file_rules),
        uploads=Uploads(store, blobs, clock, ids, quota_of, options.upload_rules, options.file_rules),
        batches=Batches(noticed, clock, ids, quota_of, options.batch_rules),
        models=models,
        interactive=Interactive(metrics, timeout_seconds=options.timeout_seconds),
        metrics=metrics,
        ids=random,
        clock=clock,
        limits=options.limits,
    )
    return house, calendar
