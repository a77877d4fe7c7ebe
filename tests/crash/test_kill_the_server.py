"""`kill -9` of the real server while batches are in each of their states; after a restart all end as if nothing was."""

import signal
import socket
from random import Random

import pytest
from openai import OpenAI
from openai.types import Batch

from tests.support.batches import CREATE, TERMINAL, assert_whole, create, ended, requests, results_of, serving, until
from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli, Running

ECHO = ("--engine", "echo", "--model", "m")
SEEDS = range(5)
CASES = [(wire, seed) for seed in SEEDS for wire in CREATE if wire == "openai" or seed < 2]


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("server"))


def ids_of(count: int) -> list[str]:
    return [f"req-{number}" for number in range(count)]


def kill(run: Running) -> None:
    run.send(signal.SIGKILL)
    assert run.finish().code == -signal.SIGKILL


def upstream_words(url: str) -> tuple[str, ...]:
    return ("--upstream", url + "v1", "--model", "m")


def assert_text(client: OpenAI, batch: Batch) -> None:
    """Every answer is that to its own line."""
    for line in results_of(client, batch)[0]:
        text = line["response"]["body"]["choices"][0]["message"]["content"]
        assert text == line["custom_id"].replace("req-", "text ")


@pytest.mark.parametrize(("wire", "seed"), CASES)
def test_killed_while_it_runs_each_line_is_answered_once(cli: Cli, seed: int, wire: str) -> None:
    random, lines = Random(seed), 300
    gate = Gate()
    with chatting(gate) as upstream:
        with serving(cli, *upstream_words(upstream.url)) as (run, client):
            made = CREATE[wire](client, requests(lines))
            gate.wait_for(random.randint(1, 100))
            kill(run)
        with serving(cli, *upstream_words(upstream.url)) as (run, client):
            gate.wait_for(min(lines, len(gate.asked) + random.randint(1, 50)))
            kill(run)
        with serving(cli, *upstream_words(upstream.url)) as (run, client):
            batch = ended(client, made.id)
            assert batch.status == "completed" and batch.error_file_id is None
            assert_whole(client, batch, ids_of(lines))
            assert_text(client, batch)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_any_moment_all_batches_end_whole_and_what_had_ended_stays(cli: Cli, seed: int) -> None:
    """Small batches go through all their states between two polls: kills at random calls hit every one of them."""
    random, sizes = Random(100 + seed), (1, 3, 40, 2000)
    made, kept = dict[str, int](), dict[str, Batch]()
    for _ in range(4):
        with serving(cli, *ECHO) as (run, client):
            for size in sizes:
                made[random.choice(list(CREATE.values()))(client, requests(size)).id] = size
            for _ in range(random.randint(0, 25)):
                seen = client.batches.retrieve(random.choice(list(made)))
                if seen.status in TERMINAL:
                    assert kept.setdefault(seen.id, seen) == seen
            kill(run)
    with serving(cli, *ECHO) as (_, client):
        for id, size in made.items():
            batch = ended(client, id)
            assert batch.status == "completed" and kept.setdefault(id, batch) == batch
            assert_whole(client, batch, ids_of(size))
        outputs = {client.batches.retrieve(id).output_file_id for id in made}
        assert len(outputs - {None}) == len(made)
        assert {file.id for file in client.files.list() if file.purpose == "batch_output"} <= outputs
    assert not list(cli.path("batchyard-data/runs").iterdir())


def test_killed_before_it_was_read_a_batch_is_read_after_the_restart(cli: Cli) -> None:
    """The upstream does not answer until the second start, so that the batch waits in `validating`."""
    with serving(cli, "--upstream", "http://127.0.0.1:9/v1", "--model", "m", ready=False) as (run, client):
        made = create(client, requests(20))
        assert client.batches.retrieve(made.id).status == "validating"
        kill(run)
    with serving(cli, *ECHO) as (_, client):
        batch = ended(client, made.id)
        assert batch.status == "completed" and batch.created_at == made.created_at
        assert_whole(client, batch, ids_of(20))


def test_cancelled_while_no_engine_answers_it_ends_at_once_after_a_kill_too(cli: Cli) -> None:
    nobody = ("--upstream", "http://127.0.0.1:9/v1", "--model", "m")
    with serving(cli, *nobody, ready=False) as (run, client):
        made = [create(client, requests(20)) for _ in range(2)]
        assert client.batches.cancel(made[0].id).status == "cancelling"
        first = ended(client, made[0].id)
        assert client.batches.cancel(made[1].id).status == "cancelling"
        kill(run)
    with serving(cli, *nobody, ready=False) as (_, client):
        assert client.batches.retrieve(first.id) == first
        for batch in (first, ended(client, made[1].id)):
            assert batch.status == "cancelled" and batch.output_file_id is None
            assert_whole(client, batch, ids_of(20))


@pytest.mark.parametrize(("wire", "seed"), CASES)
def test_killed_while_it_is_cancelled_it_ends_cancelled_with_what_it_had(cli: Cli, seed: int, wire: str) -> None:
    lines, free = 200, 20 + 30 * seed
    gate = Gate(free)
    with chatting(gate) as upstream:
        with serving(cli, *upstream_words(upstream.url)) as (run, client):
            made = CREATE[wire](client, requests(lines))
            until(client, made.id, lambda batch: (batch.request_counts is not None
                                                  and batch.request_counts.completed == free))  # fmt: skip
            assert client.batches.cancel(made.id).status == "cancelling"
            kill(run)
        with serving(cli, *upstream_words(upstream.url)) as (_, client):
            batch = ended(client, made.id)
            output, errors = assert_whole(client, batch, ids_of(lines))
            assert client.batches.cancel(made.id) == batch
    assert batch.status == "cancelled" and len(output) == free and len(errors) == lines - free
    assert len(set(gate.asked)) == len(gate.asked), "a cancelled batch asked again for what was in flight"


def test_sigterm_in_the_middle_loses_nothing(cli: Cli) -> None:
    gate = Gate(10)
    with chatting(gate) as upstream:
        with serving(cli, *upstream_words(upstream.url), "--grace", "1") as (run, client):
            made = create(client, requests(60))
            gate.wait_for(11)
            run.send(signal.SIGTERM)
            assert run.finish().code == 0
        gate.open()
        with serving(cli, *upstream_words(upstream.url)) as (_, client):
            batch = ended(client, made.id)
            assert batch.status == "completed"
            assert_whole(client, batch, ids_of(60))


def test_killed_while_a_large_file_arrives_nothing_of_it_is_left(cli: Cli) -> None:
    """So much of it has come that it is being examined."""
    blobs, sent = cli.path("batchyard-data/blobs"), requests(1000) * 160
    with serving(cli, *ECHO) as (run, client):
        head = (
            f"POST /v1/files HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {client.api_key}\r\n"
            f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {len(sent) * 2}\r\n\r\n"
            '--b\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
        )
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as line:
            line.sendall(head.encode() + sent)
            while sum(path.stat().st_size for path in (blobs / "new").iterdir()) < 16 << 20:
                assert client.files.list().data == []
            kill(run)
    with serving(cli, *ECHO) as (_, client):
        assert client.files.list().data == []
        assert [list((blobs / name).iterdir()) for name in ("new", "files")] == [[], []]
        assert client.files.create(file=("in.jsonl", sent), purpose="batch").bytes == len(sent)
