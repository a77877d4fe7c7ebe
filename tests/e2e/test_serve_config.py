"""A server of several models, as `batchyard.toml` has it."""

import json
import signal
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from openai import OpenAI

from tests.support.batches import create, ended, lines_of, requests, url_of
from tests.support.chat_server import chatting
from tests.support.cli import Cli, Running

CONFIG = """
[server]
port = 0

[models.demo]
model = "demo"
slots = 2
threads = 1

[models.echo]
engine = "echo"
aliases = ["same"]

[models.remote]
upstreams = ["{url}v1"]
upstream_model = "m"
slots = 2
batch_slots = 1
prices = {{ input = 1, output = 2 }}

[models.broken]
model = "./nowhere.gguf"

[projects.search]
create = true

[batches]
several_models = true
"""

A_COST = {"amount": "0.000009", "currency": "USD"}
"""Three lines of two words, said back: six tokens in, six out, at half the price."""


@contextmanager
def serving(cli: Cli, config: str, *words: str) -> Generator[tuple[Running, OpenAI]]:
    cli.path("batchyard.toml").write_text(config)
    with cli.start("serve", "--config", "batchyard.toml", *words) as run:
        run.wait_for("Ready: ")
        secret = cli.path("batchyard-data/admin.key").read_text().strip()
        with OpenAI(base_url=f"{url_of(run)}/v1", api_key=secret, _strict_response_validation=True) as client:
            yield run, client


def test_models_of_every_kind_answer_side_by_side(cli: Cli) -> None:
    with chatting() as upstream, serving(cli, CONFIG.format(url=upstream.url)) as (run, client):
        for name in ("demo", "echo", "remote"):
            run.wait_for(f"Ready: {name} by ")
        run.wait_for("Not ready: broken. ")
        with urllib.request.urlopen(f"{url_of(run)}/readyz") as answer:
            models = json.loads(answer.read())["models"]
        assert {models[name] for name in ("demo", "echo", "remote")} == {"ready"} and models["broken"] != "ready"
        for name, own in (("demo", "demo"), ("same", "echo"), ("remote", "remote")):
            batch = ended(client, create(client, requests(3, model=name, max_tokens=4)).id)
            assert (batch.status, batch.model) == ("completed", own)
            output = lines_of(client, batch.output_file_id)
            assert [line["response"]["body"]["model"] for line in output] == [own] * 3
            assert (batch.model_extra or {})["cost"] == (A_COST if own == "remote" else None)
        mixed = requests(2, model="echo") + requests(2, model="remote").replace(b"req-", b"other-")
        batch = ended(client, create(client, mixed).id)
        assert (batch.status, batch.model) == ("completed", None)
        assert json.loads(upstream.seen[-1].body)["model"] == "m"
        run.send(signal.SIGTERM)
        assert run.finish().code == 0


def test_flags_go_before_the_file(cli: Cli) -> None:
    config = '[server]\nport = 1\ndata_dir = "elsewhere"\n[models.echo]\nengine = "echo"\n'
    words = ("--port", "0", "--data-dir", "batchyard-data")
    with serving(cli, config, *words) as (run, _):
        assert url_of(run) != "http://127.0.0.1:1" and not cli.path("elsewhere").exists()


def test_without_keys_the_server_says_so_and_answers_to_anybody(cli: Cli) -> None:
    config = '[server]\nport = 0\nkeys = false\n[models.echo]\nengine = "echo"\n'
    with serving(cli, config) as (run, _):
        assert "Without keys" in run.said
        with OpenAI(base_url=f"{url_of(run)}/v1", api_key="none") as client:
            assert client.files.list().data == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[server]\nprot = 1", "batchyard.toml:2: server.prot"),
        ('[server]\nkeys = false\nhost = "0.0.0.0"\n[models.e]\nengine = "echo"', "batchyard.toml:2: server.keys"),
        ("", "There is no model to run"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_started(cli: Cli, config: str, said: str) -> None:
    cli.path("batchyard.toml").write_text(config)
    done = cli.run("serve", "-c", "batchyard.toml", "--port", "0")
    assert done.code == 1 and said in done.stderr and "Listening" not in done.stderr
    assert not cli.path("batchyard-data").exists()
