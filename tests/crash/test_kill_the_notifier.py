"""`kill -9` of the real server while deliveries are pending: every end of a batch is heard of, under one id."""

import queue
import signal
from random import Random

import pytest

from tests.support.batches import create, ended, requests, serving
from tests.support.cli import Cli, Running
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
