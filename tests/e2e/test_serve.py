"""The server as a user starts and ends it."""

import http.client
import itertools
import json
import re
import signal
import stat
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, OpenAI

from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli, Running

ECHO = ("serve", "--port", "0", "--engine", "echo", "--model", "m")
LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}\n'


@contextmanager
def serving(cli: Cli, *words: str) -> Generator[tuple[Running, OpenAI]]:
    """A server that takes work, and a client with its administrator's key."""
    with cli.start(*(words or ECHO)) as run:
        run.wait_for("Ready: ")
        secret = cli.path("batchyard-data/admin.key").read_text().strip()
        with OpenAI(base_url=f"{url_of(run)}/v1", api_key=secret, _strict_response_validation=True) as client:
            yield run, client


def url_of(run: Running) -> str:
    found = re.search(r"Listening on (http://\S+)", run.said)
    assert found is not None
    return found[1]


def test_the_first_start_makes_a_key_that_only_its_owner_reads(cli: Cli) -> None:
    with serving(cli) as (run, client):
        key = cli.path("batchyard-data/admin.key")
        assert key.read_text().strip() in run.said
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert [model.id for model in client.models.list().data] == ["m"]
        run.send(signal.SIGTERM)
        assert run.finish().code == 0


def test_what_was_kept_is_there_after_a_restart_and_the_key_is_not_shown_again(cli: Cli) -> None:
    with serving(cli) as (run, client):
        file = client.files.create(file=("in.jsonl", LINE), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        run.send(signal.SIGKILL)
        assert run.finish().code == -signal.SIGKILL
    with serving(cli) as (run, client):
        assert "key" not in run.said
        assert client.files.content(file.id).content == LINE
        after = client.batches.retrieve(batch.id)
        assert (after.created_at, after.input_file_id) == (batch.created_at, file.id)


def test_a_public_address_without_keys_is_refused(cli: Cli) -> None:
    done = cli.run(*ECHO, "--host", "0.0.0.0")
    assert done.code == 1 and "no keys yet" in done.stderr and "Listening" not in done.stderr
    assert not cli.path("batchyard-data/admin.key").exists()


def test_two_servers_do_not_share_a_folder(cli: Cli) -> None:
    with serving(cli):
        done = cli.run(*ECHO)
    assert done.code == 1 and "Another process is at work" in done.stderr


def test_a_port_that_is_taken_is_named(cli: Cli) -> None:
    with serving(cli) as (run, _):
        port = url_of(run).rpartition(":")[2]
        done = cli.run(*ECHO, "--port", port, "--data-dir", "other")
    assert done.code == 1 and f"Cannot listen on 127.0.0.1:{port}" in done.stderr and "--port" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve",), "There is no model to run"),
        (("serve", "--upstream", "http://127.0.0.1:9/v1"), "has no name here"),
        (("serve", "--upstream", "nonsense", "--model", "m"), "upstream"),
        (("serve", "--port", "0", "--engine", "nobody", "--model", "m"), "There is no engine nobody"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(cli: Cli, words: tuple[str, ...], said: str) -> None:
    done = cli.run(*words)
    assert done.code == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_an_upstream_answers_under_the_name_that_callers_know(cli: Cli) -> None:
    with chatting() as upstream:
        words = (
            "serve",
            "--port",
            "0",
            "--upstream",
            upstream.url + "v1",
            "--model",
            "m",
            "--served-model-name",
            "ours",
        )
        with serving(cli, *words) as (_, client):
            assert [model.id for model in client.models.list().data] == ["ours"]
            answer = client.chat.completions.create(model="ours", messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == "hi"
    assert json.loads(upstream.seen[-1].body)["model"] == "m"


UPSTREAM = ("serve", "--port", "0", "--model", "m", "--upstream")


def ask(client: OpenAI) -> str | None:
    said = client.with_options(max_retries=0).chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}]
    )
    return said.choices[0].message.content


def test_sigterm_lets_calls_under_way_end(cli: Cli) -> None:
    gate = Gate(0)
    with (
        chatting(gate) as upstream,
        ThreadPoolExecutor() as threads,
        serving(cli, *UPSTREAM, upstream.url + "v1") as (run, client),
    ):
        answer = threads.submit(ask, client)
        gate.wait_for(1)
        run.send(signal.SIGTERM)
        gate.open()
        assert answer.result() == "hi"
        assert run.finish().code == 0


def test_asking_twice_ends_the_server_at_once(cli: Cli) -> None:
    gate = Gate(0)
    with (
        chatting(gate) as upstream,
        ThreadPoolExecutor() as threads,
        serving(cli, *UPSTREAM, upstream.url + "v1") as (run, client),
    ):
        answer = threads.submit(ask, client)
        gate.wait_for(1)
        run.send(signal.SIGTERM)
        run.wait_for("Ending")
        run.send(signal.SIGTERM)
        assert run.finish(20).code == 0
        with pytest.raises(APIError):
            answer.result()


def test_memory_does_not_grow_with_a_file(cli: Cli) -> None:
    line, count = LINE[:-3] + b', "x": "' + b"a" * 65_000 + b'"}}\n', 1500
    with serving(cli) as (run, client):
        before = most_memory(run)
        made = post_stream(client, line, count)
        assert made["bytes"] == len(line) * count
        with client.files.with_streaming_response.content(made["id"]) as content:
            assert sum(len(piece) for piece in content.iter_bytes()) == made["bytes"]
        assert most_memory(run) - before < 24 << 20


def most_memory(run: Running) -> int:
    """The most bytes that a server ever had in memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{run.pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def post_stream(client: OpenAI, line: bytes, count: int) -> dict[str, Any]:
    """Upload a file that is nowhere whole, in a chunked body."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.jsonl"\r\n\r\n'
    tail = b'\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    pieces = itertools.chain([head], itertools.repeat(line, count), [tail])
    headers = {"Authorization": f"Bearer {client.api_key}", "Content-Type": "multipart/form-data; boundary=b"}
    address = client.base_url
    connection = http.client.HTTPConnection(address.host, address.port or 80)
    try:
        connection.request("POST", "/v1/files", pieces, headers, encode_chunked=True)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
