"""The notebook on Gemini's batches, from its first step to its last, with every major of the official client.

Each client runs as a program of its own against a server in a process of its own, which has real models under the names
that the notebook has: one that reads and sees, one that embeds, and one that makes pictures.
"""

import asyncio
import json
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from tests.clients.install import FOLDER, HERE
from tests.clients.programs import run
from tests.support import models
from tests.support.batches import url_of
from tests.support.cli import Cli
from tests.support.made_pictures import opened
from tests.support.web_server import Exchange, serving

CLIENTS = {"1": FOLDER / "genai-1", "2": FOLDER / "genai-2", "3": None}
"""The majors of the client, and where they are; the last one is installed beside us."""

CONFIG = """
[server]
port = 0

[webhooks]
allow_private = ["127.0.0.1"]

[models.reader]
model = "demo"
mmproj = "eyes.gguf"
aliases = ["gemini-3.6-flash"]

[models.embedder]
model = {vectors!r}
aliases = ["gemini-embedding-001"]

[models.painter]
model = {painter!r}
aliases = ["gemini-2.5-flash-image"]
"""


@dataclass
class Stand:
    """A server, a receiver of webhooks with what came to it, and a picture."""

    url: str
    secret: str
    hook: str
    came: Queue[dict[str, Any]]
    picture: str

    def words(self) -> list[str]:
        return [sys.executable, str(HERE / "notebook.py"), self.url, self.secret, self.picture, self.hook]

    async def heard(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.came.get, timeout=30)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, minilm: Path, painter: Path) -> Generator[Stand]:
    cli = Cli(tmp_path_factory.mktemp("server"))
    models.eyes(cli.path("eyes.gguf"), width=256)
    cli.path("red.png").write_bytes(models.png(255, 0, 0))
    cli.path("batchyard.toml").write_text(CONFIG.format(vectors=str(minilm), painter=str(painter)))
    came: Queue[dict[str, Any]] = Queue()

    def receive(exchange: Exchange) -> None:
        came.put(json.loads(exchange.seen.body))
        exchange.reply(200)

    with serving(receive) as receiver, cli.start("serve", "--config", "batchyard.toml") as server:
        for name in ("reader", "embedder", "painter"):
            server.wait_for(f"Ready: {name}")
        secret = cli.path("batchyard-data/admin.key").read_text().strip()
        yield Stand(url_of(server), secret, f"{receiver.url}hook", came, str(cli.path("red.png")))


@pytest.mark.parametrize("major", CLIENTS)
async def test_the_notebook_runs_from_its_first_step_to_its_last(stand: Stand, major: str) -> None:
    told = await run(stand.words(), CLIENTS[major])
    assert told["version"].split(".")[0] == major
    halves = [told["sync"], told["async"]]
    for half in halves:
        assert_right(half)
    heard = [await stand.heard() for _ in range(4)]  # in any order: of a job's end when it is noticed
    assert [each["type"] for each in heard].count("webhook.ping") == 2
    own = [each for each in heard if each["type"] == "batch.succeeded"]
    assert {each["data"]["id"] for each in own} == {half["webhooks"]["job"] for half in halves}
    assert [each["user_metadata"] for each in own] == [{"step": "own"}] * 2


def assert_right(told: dict[str, Any]) -> None:
    """Every step saw what it should."""
    assert told["file"] == {
        "first": "JOB_STATE_PENDING", "state": "JOB_STATE_SUCCEEDED", "done": True, "model": "models/gemini-3.6-flash",
        "versions": ["gemini-3.6-flash"], "name": "from-a-file", "texts": {"request_1": "Oslo", "request_2": "42"},
    }  # fmt: skip
    assert told["inline"]["state"] == "JOB_STATE_SUCCEEDED" and told["inline"]["file"] is None
    assert told["inline"]["texts"] == ["Oslo", "42", "Oslo"] and told["inline"]["errors"] == [None] * 3
    assert told["inline"]["metadata"] == [None, {"key": "sum"}, None]
    assert told["refused"] == [400, "INVALID_ARGUMENT", True, True]
    inline, from_a_file = told["listed"]
    assert inline == ["inline", "JOB_STATE_SUCCEEDED", None]
    assert from_a_file[:2] == ["from-a-file", "JOB_STATE_SUCCEEDED"] and from_a_file[2].startswith("files/batch-")
    assert told["cancelled"]["state"] in ("JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED")
    assert told["cancelled"]["whole"] and told["cancelled"]["gone"] == [404, "NOT_FOUND"]
    assert set(told["cancelled"]["codes"]) <= ({1} if told["cancelled"]["state"] == "JOB_STATE_CANCELLED" else set())
    assert_vectors(told)
    assert_pictures(told)
    assert {**told["webhooks"], "job": None} == {"secret": True, "listed": True, "left": 0, "job": None}
    assert told["files"] == 0


def assert_vectors(told: dict[str, Any]) -> None:
    """Texts that are the same have the same embedding, cut where it was asked."""
    three, four = told["vectors"]["request_1"], told["vectors"]["request_2"]
    same, other = told["inline_vectors"]
    assert len(four) == len(other) == 4
    assert three == pytest.approx(four[:3], abs=1e-4) and same == pytest.approx(four, abs=1e-4) != other


def assert_pictures(told: dict[str, Any]) -> None:
    """A picture looks the same however it came; pictures that were made can be opened."""
    seen = told["seen"]
    assert seen["type"] == "image/png" and seen["texts"]["request_1"] == "Oslo"
    assert seen["texts"]["request_2_image"] == seen["texts"]["request_3_image"] == seen["now"] != ""
    assert [(each["key"], each["mimeType"]) for each in told["made"]] == [
        ("image_request_A", "image/png"), ("image_request_B", "image/png"),
    ]  # fmt: skip
    first, second = (opened(each["data"]) for each in told["made"])
    assert first.size == second.size == (64, 64)
