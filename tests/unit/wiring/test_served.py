"""The models of a server: each starts on its own, and one that cannot takes no other down."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from batchyard.blobs import local
from batchyard.clock import SystemClock
from batchyard.disks.local import LocalDisk
from batchyard.domain.errors import Invalid, NotFound, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer
from batchyard.offload import Lanes
from batchyard.server.models import Models, Waiting
from batchyard.server.options import ModelOptions, ServeOptions
from batchyard.stores import sqlite
from batchyard.wiring.house import Ground, HouseSettings, Rooms, build_rooms
from batchyard.wiring.served import Served, name_of
from tests.support.chat_server import chatting
from tests.support.serving import inline

CHAT = "/v1/chat/completions"
IMAGES = "/v1/images/generations"
PAUSE = 0.02


@asynccontextmanager
async def served(
    folder: Path, *models: ModelOptions, patient: bool = True, say: Callable[[str], None] = print
) -> AsyncGenerator[tuple[Served, Rooms]]:
    """A server's models, not started."""
    store, lanes = await sqlite.open(sqlite.Config(path=":memory:"), inline), Lanes(1)
    blobs = await local.open(local.Config(folder=str(folder / "blobs")), LocalDisk(), inline)
    ground = Ground(
        store=store, blobs=blobs, disk=LocalDisk(), blob_steps=inline, lanes=lanes, clock=SystemClock(),
        random=Random(1), folder=str(folder),
    )  # fmt: skip
    rooms = build_rooms(ground, HouseSettings())
    options = ServeOptions(data_folder=str(folder), models=models, patient=patient)
    made = Served(options, rooms, say, first_pause_seconds=PAUSE)
    try:
        yield made, rooms
    finally:
        await made.close()
        await store.close()
        lanes.close()


def a_model(name: str, **options: Any) -> ModelOptions:
    given: dict[str, Any] = {"engine": "echo", **options}
    return ModelOptions(name=name, **given)


def missing(folder: Path, name: str = "missing") -> ModelOptions:
    return ModelOptions(name=name, model=str(folder / "missing.gguf"))


async def test_every_model_answers_by_its_name_and_its_aliases(tmp_path: Path) -> None:
    models = (a_model("one", aliases=("eins", "un")), a_model("two"))
    said: list[str] = []
    async with served(tmp_path, *models, say=said.append) as (each, rooms):
        await each.start()
        assert each.began.is_set()
        assert [model.name for model in rooms.house.models.all()] == ["one", "two"]
        assert rooms.house.models.find("un").name == "one"
        assert rooms.engines.of("one") is not rooms.engines.of("two")
    assert sorted(said) == ["Ready: one by echo", "Ready: two by echo"]


async def test_a_model_that_cannot_start_takes_no_other_down_and_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    async with served(tmp_path, missing(tmp_path), a_model("one"), say=said.append) as (each, rooms):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10 * PAUSE):
                await each.start()
        catalogue = rooms.house.models
        assert each.began.is_set() and catalogue.find("one")
        assert [model.name for model in catalogue.all()] == ["one"]
        assert catalogue.states()["one"] == "ready" and catalogue.states()["missing"] in ("starting", "cannot start")
        with pytest.raises(Unavailable, match="does not answer yet"):
            catalogue.find("missing")
        assert "missing" in catalogue.names_for(CHAT), "batches may ask for it, and wait"
    assert len([line for line in said if line.startswith("Not ready: missing.")]) == 1


async def test_a_model_that_could_not_start_is_tried_again_until_it_does(tmp_path: Path) -> None:
    hurried: list[bool] = []
    with chatting() as upstream:
        port = upstream.url.rstrip("/").rpartition(":")[2]
    model = a_model("late", engine="auto", upstreams=(f"http://127.0.0.1:{port}/v1",), engine_start_seconds=0)
    said, failed = list[str](), asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        failed.set()

    async with served(tmp_path, model, say=say) as (each, rooms):
        rooms.calendar.hurry = lambda: hurried.append(True)
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(each.start())
            await failed.wait()
            server = await asyncio.start_server(_models, "127.0.0.1", int(port))
            async with server:
                await starting
        assert rooms.house.models.find("late")
    assert said[0].startswith("Not ready: late.") and said[-1].startswith("Ready: late by ")
    assert hurried == [True], "batches that wait for it are tried at once"


async def _models(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_an_impatient_server_says_why_its_model_cannot_start(tmp_path: Path) -> None:
    async with served(tmp_path, missing(tmp_path), patient=False) as (each, _):
        with pytest.raises(ExceptionGroup) as failed:
            await each.start()
    assert isinstance(failed.value.exceptions[0], Invalid)


async def test_an_upstream_is_asked_for_its_own_name_and_gets_no_more_than_its_slots(tmp_path: Path) -> None:
    with chatting() as upstream:
        model = a_model(
            "ours", engine="auto", upstreams=(upstream.url + "v1",), upstream_model="theirs", slots=3, batch_slots=2
        )
        async with served(tmp_path, model) as (each, rooms):
            await each.start()
            entry = rooms.house.models.find("ours")
            body = b'{"model":"theirs","messages":[{"role":"user","content":"hi"}]}'
            reply = await entry.engine.infer(Request(0, "a", CHAT, entry.asked_as, body))
        assert entry.asked_as == "theirs"
        assert isinstance(reply, Answer) and b'"model":"ours"' in reply.body
        assert b"authorization" not in str(upstream.seen[-1].headers).lower().encode()


async def test_an_upstream_is_asked_for_pictures_as_its_model_says(tmp_path: Path) -> None:
    def remote(name: str, **options: Any) -> ModelOptions:
        return a_model(name, engine="auto", upstreams=(upstream.url + "v1",), **options)

    with chatting() as upstream:
        async with served(tmp_path, remote("posts"), remote("talks", pictures="chat")) as (each, rooms):
            await each.start()
            entry = rooms.house.models.find("talks")
            reply = await entry.engine.infer(Request(0, "a", IMAGES, "talks", b'{"model":"talks","prompt":"a cat"}'))
            assert all(IMAGES in model.abilities.endpoints for model in rooms.house.models.all())
    assert isinstance(reply, Answer) and b'"text":"a cat"' in reply.body, "it said so, and showed nothing"


async def test_no_key_of_somebody_elses_goes_to_an_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OTHER_KEY", "other")
    with chatting() as upstream:
        urls = (upstream.url + "v1",)
        models = (
            a_model("none", engine="auto", upstreams=urls),
            a_model("own", engine="auto", upstreams=urls, api_key_env="OTHER_KEY"),
        )
        async with served(tmp_path, *models) as (each, _):
            await each.start()
        sent = {str(seen.headers).lower() for seen in upstream.seen}
    assert not any("secret" in headers for headers in sent)
    assert any("bearer other" in headers for headers in sent) and any("bearer" not in headers for headers in sent)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (ModelOptions(name="given", model="x.gguf"), "given"),
        (ModelOptions(upstreams=("http://a",), upstream_model="theirs"), "theirs"),
        (ModelOptions(model="org/name"), "org/name"),
        (ModelOptions(model="demo"), "demo"),
        (ModelOptions(engine="echo"), "echo"),
    ],
)
def test_a_model_without_a_name_goes_by_what_it_is(model: ModelOptions, name: str) -> None:
    assert name_of(model) == name


def test_a_file_gives_its_model_the_name_without_the_ending(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").touch()
    assert name_of(ModelOptions(model=str(tmp_path / "small.gguf"))) == "small"


def test_a_name_that_nobody_knows_is_not_found_and_one_that_waits_is_away() -> None:
    models = Models()
    models.announce(Waiting("slow"), aliases=("s",))
    assert models.own_name("s") == "slow" and models.all() == []
    with pytest.raises(Unavailable, match="starting"):
        models.find("s")
    with pytest.raises(NotFound):
        models.find("nobody")
