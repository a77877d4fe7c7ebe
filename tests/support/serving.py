"""A live server on loopback, in the test's own event loop, behind real HTTP, with its data in a folder of its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, BaseModel, OpenAI
from starlette.applications import Starlette

from batchyard.blobs import local
from batchyard.clock import Clock, SystemClock
from batchyard.config import DispatchSettings, ImageSettings
from batchyard.disk import Disk
from batchyard.disks.local import LocalDisk
from batchyard.domain.access import HOME, NO_LIMITS, Caller, ModelLimits, Quota, Role
from batchyard.domain.price import Price
from batchyard.engine import Abilities, Engine
from batchyard.engines import echo
from batchyard.offload import Lanes
from batchyard.pipeline.calendar import CalendarSettings
from batchyard.pipeline.inline import Inlining, Manner
from batchyard.pipeline.parking import Parking
from batchyard.pipeline.share import Sharing
from batchyard.server.app import build_app
from batchyard.server.house import House, Limits
from batchyard.server.listen import bind, serve
from batchyard.server.models import Model
from batchyard.server.tolls import loop_seconds
from batchyard.service.rules import BatchRules, FileRules, UploadRules
from batchyard.stores import sqlite
from batchyard.wiring.batches import BATCH_RULES
from batchyard.wiring.house import Ground, HouseSettings, Rooms, build_rooms, run_duties
from batchyard.wiring.webhooks import WebhookSettings

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
    """What a test's server is made of. It lets batches walk only where a test says how (`walks`).

    An `engine` of a test's own is started and closed by the server; without, one answers that says what `script` does.
    """

    script: echo.Script | None = None
    telling: echo.Telling | None = None
    names: tuple[str, ...] = (MODEL,)
    endpoints: frozenset[str] = ENDPOINTS
    limits: Limits = field(default_factory=Limits)
    timeout_seconds: float = 600.0
    quota: Quota = field(default_factory=Quota)
    clock: Clock = field(default_factory=SystemClock)
    upload_rules: UploadRules | None = None
    file_rules: FileRules | None = None
    batch_rules: BatchRules | None = None
    walks: CalendarSettings | None = None
    slots: int | None = None
    heavy_bytes: int | None = None
    blob_disk: Disk = field(default_factory=LocalDisk)
    blob_threads: bool = False
    price: Price | None = None
    model_limits: ModelLimits = NO_LIMITS
    rate_seconds: Callable[[], float] = loop_seconds
    several_models: bool = False
    keys: bool = True
    behind_proxy: bool = False
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    grace_seconds: int = 5
    engine: Engine | None = None
    manner: Manner = field(default_factory=Manner)
    images: ImageSettings = field(default_factory=ImageSettings)


@dataclass
class Live:
    """A running server, and clients of it that hold its first key, an administrator's."""

    app: Starlette
    house: House
    rooms: Rooms
    store: sqlite.SqliteStore
    parking: Parking
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
        made, lanes, streams = Options(**options), Lanes(2), Lanes(4)
        stack.callback(lanes.close)
        stack.callback(streams.close)
        engine = made.engine or echo.open(echo.Config(script=made.script, telling=made.telling))
        stack.push_async_callback(engine.close)
        rooms = await _rooms(made, engine, store, folder, lanes, streams if made.blob_threads else None)
        stack.push_async_callback(rooms.close)
        house = rooms.house
        first = await house.access.first_admin_key()
        assert first is not None
        sock = bind("127.0.0.1", 0)
        app = build_app(house)
        server = Live(app, house, rooms, store, rooms.parking, folder, sock.getsockname()[1], first[1])
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(serve(app, sock, server.stop, grace_seconds=made.grace_seconds))
        duties = group.create_task(run_duties(rooms))
        if made.walks is not None:
            group.create_task(rooms.calendar.run(server.stop))
        stack.callback(duties.cancel)
        stack.callback(server.stop.set)
        yield server


async def _rooms(
    options: Options, engine: Engine, store: sqlite.SqliteStore, folder: str, lanes: Lanes, streams: Lanes | None
) -> Rooms:
    blobs = await local.open(local.Config(folder=f"{folder}/blobs"), options.blob_disk, inline, lanes=streams)
    ground = Ground(
        store=store, blobs=blobs, disk=LocalDisk(), blob_steps=inline, lanes=lanes, clock=options.clock,
        random=Random(7), folder=folder,
    )  # fmt: skip
    rooms = build_rooms(ground, _settings(options))
    rooms.house.tolls.seconds = options.rate_seconds
    await rooms.tidy()
    abilities = await _abilities(options)
    for name in options.names:
        sharing = Sharing(
            Inlining(engine, rooms.pictures, options.manner, abilities), abilities, options.clock,
            people=Inlining(engine, rooms.pictures, options.manner, abilities),
        )  # fmt: skip
        rooms.engines.add(name, sharing)
        model = Model(name, sharing.front(), abilities, 1_790_000_000, price=options.price, limits=options.model_limits)
        rooms.house.models.add(model)
    return rooms


async def _abilities(options: Options) -> Abilities:
    if options.engine is not None:
        return await options.engine.start()
    return Abilities(endpoints=options.endpoints, models=frozenset(options.names), slots=options.slots)


def _settings(options: Options) -> HouseSettings:
    heavy = {} if options.heavy_bytes is None else {"heavy_bytes": options.heavy_bytes}
    return HouseSettings(
        **heavy,
        quota_of=lambda _: options.quota,
        file_rules=options.file_rules or FileRules(),
        upload_rules=options.upload_rules or UploadRules(),
        batch_rules=options.batch_rules or BATCH_RULES,
        limits=options.limits,
        calendar=options.walks or CalendarSettings(),
        dispatch=DispatchSettings(request_timeout_seconds=options.timeout_seconds),
        count_seconds=0.02,
        several_models=options.several_models,
        keys=options.keys,
        behind_proxy=options.behind_proxy,
        webhooks=options.webhooks,
        images=options.images,
    )
