"""`kill -9` of the real server while deliveries are pending: every end of a batch is heard of, under one id."""

import json
import queue
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google import genai
from google.genai.types import HttpOptions

from batchyard.domain.access import HOME, Quota
from batchyard.domain.batch import BatchId, Form
from batchyard.domain.hooks import Hooks
from batchyard.stores import sqlite
from batchyard.wiring.secret import HOOK_FILE
from tests.support.batches import create, ended, requests, serving, url_of
from tests.support.cli import Cli, Running
from tests.support.tenants import TurnsOffload, a_batch, an_event
from tests.support.web_server import Exchange, Seen
from tests.support.web_server import serving as receiving

WORDS = ("--engine", "echo", "--model", "m", "--webhook-allow-private", "127.0.0.1")


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("server"))


def kill(run: Running) -> None:
    run.send(signal.SIGKILL)
    assert run.finish().code == -signal.SIGKILL


class Receiver:
    """Hangs while it is told to; `seen` is what it has taken."""

    def __init__(self) -> None:
        self.came, self.seen = queue.Queue[str](), queue.Queue[Seen]()
        self.hangs = False

    def step(self, exchange: Exchange) -> None:
        self.came.put(exchange.seen.headers["webhook-id"])
        if self.hangs:
            exchange.rfile.read(1)  # until the other side goes
            exchange.drop()
            return
        self.seen.put(exchange.seen)
        exchange.reply(200)


def test_killed_while_an_endpoint_hangs_the_event_goes_out_again_under_its_id(cli: Cli) -> None:
    receiver = Receiver()
    with receiving(receiver.step) as script:
        receiver.hangs = True
        with serving(cli, *WORDS) as (run, client):
            made = client.webhooks.create(name="ci", url=script.url, event_types=["batch.completed"])
            batch = create(client, requests(1))
            id = receiver.came.get(timeout=60)
            kill(run)
        receiver.hangs = False
        with serving(cli, *WORDS) as (_, client):
            assert receiver.came.get(timeout=60) == id
            seen = receiver.seen.get(timeout=60)
            event = client.webhooks.unwrap(seen.body, seen.headers, secret=made.signing_secret)
            assert event.type == "batch.completed" and event.data.id == batch.id


def test_killed_while_a_webhook_of_geminis_wire_hangs_the_same_goes_out_again(cli: Cli) -> None:
    receiver = Receiver()
    with receiving(receiver.step) as script:
        receiver.hangs = True
        with serving(cli, *WORDS) as (run, client):
            gemini: Any = genai.Client(api_key=client.api_key, http_options=HttpOptions(base_url=url_of(run)))
            hook = gemini.webhooks.create(uri=script.url, subscribed_events=["batch.succeeded"])
            gemini.close()
            batch = create(client, requests(1))
            id = receiver.came.get(timeout=60)
            kill(run)
        receiver.hangs = False
        with serving(cli, *WORDS) as (_, client):
            assert receiver.came.get(timeout=60) == id
            seen = receiver.seen.get(timeout=60)
            client.webhooks.verify_signature(seen.body, seen.headers, secret=hook.new_signing_secret)
            body = json.loads(seen.body)
            assert body["type"] == "batch.succeeded"
            assert body["data"]["id"] == f"batches/{batch.id.removeprefix('batch_')}"
            file = client.batches.retrieve(batch.id).output_file_id or ""
            assert body["data"]["output_file_uri"] == f"files/{file.removeprefix('file-')}"


async def a_job(folder: Path, uri: str) -> BatchId:
    """A job with a webhook of its own, in the data folder of a server that is down. It has no input, so it fails."""
    store = await sqlite.open(sqlite.Config(path=str(folder / "facts.db")), TurnsOffload())
    hooks = Hooks(uris=(uri,), user_metadata={"run": 7})
    job = a_batch(project=HOME, form=Form.GEMINI, hooks=hooks, deadline_at=None)
    await store.batches.add(job, an_event(job), Quota())
    await store.close()
    return job.id


async def test_killed_while_a_jobs_own_webhook_hangs_the_same_goes_out_again(cli: Cli) -> None:
    receiver, folder = Receiver(), cli.path("batchyard-data")
    with receiving(receiver.step) as script:
        with serving(cli, *WORDS) as (run, _):
            kill(run)
        secret = (folder / HOOK_FILE).read_text().strip()
        receiver.hangs = True
        job = await a_job(folder, script.url)
        with serving(cli, *WORDS) as (run, _):
            id = receiver.came.get(timeout=60)
            kill(run)
        receiver.hangs = False
        with serving(cli, *WORDS) as (_, client):
            assert receiver.came.get(timeout=60) == id
            seen = receiver.seen.get(timeout=60)
            client.webhooks.verify_signature(seen.body, seen.headers, secret=secret)
            body = json.loads(seen.body)
            assert (body["type"], body["user_metadata"]) == ("batch.failed", {"run": 7})
            assert body["data"]["id"] == f"batches/{job.removeprefix('batch_')}"


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_every_end_is_heard_of(cli: Cli, seed: int) -> None:
    random, receiver = Random(seed), Receiver()
    batches, ids, secret = set[str](), dict[str, str](), ""
    with receiving(receiver.step) as script:
        for life in range(3):
            with serving(cli, *WORDS) as (run, client):
                if not life:
                    made = client.webhooks.create(name="ci", url=script.url, event_types=["batch.completed"])
                    secret = made.signing_secret
                batches |= {create(client, requests(2)).id for _ in range(3)}
                for _ in range(random.randint(0, 60)):
                    client.batches.retrieve(random.choice(sorted(batches)))
                kill(run)
        with serving(cli, *WORDS) as (_, client):
            assert {ended(client, id).status for id in batches} == {"completed"}
            while ids.keys() != batches:
                seen = receiver.seen.get(timeout=60)
                event = client.webhooks.unwrap(seen.body, seen.headers, secret=secret)
                assert event.type == "batch.completed" and event.data.id in batches
                assert ids.setdefault(event.data.id, seen.headers["webhook-id"]) == seen.headers["webhook-id"]
    assert len(set(ids.values())) == len(batches)
