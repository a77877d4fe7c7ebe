"""The commands for batches, against our server in a process of its own and against one that is not ours."""

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import OpenAI

from tests.support.batches import CHAT, requests, serving
from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli, Done
from tests.support.web_server import Exchange, Step, answers
from tests.support.web_server import serving as scripted

ECHO = ("--engine", "echo", "--model", "m")


def user(cli: Cli, client: OpenAI) -> Cli:
    """Somebody who has the server's address and key in the environment."""
    cli.environment |= {"BATCHYARD_BASE_URL": str(client.base_url), "BATCHYARD_API_KEY": client.api_key}
    return cli


def document(done: Done) -> Any:
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_becomes_answers_in_one_command(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(requests(30))
    with serving(cli, *ECHO) as (_, client):
        words = (
            "submit",
            "in.jsonl",
            "--metadata",
            "team=search",
            "-o",
            "out.jsonl",
            "--errors",
            "bad.jsonl",
            "--json",
        )
        batch = document(user(cli, client).run(*words))
        assert (batch["status"], batch["metadata"]) == ("completed", {"team": "search"})
        assert client.files.content(batch["output_file_id"]).content == cli.path("out.jsonl").read_bytes()
    lines = [json.loads(line) for line in cli.path("out.jsonl").read_bytes().splitlines()]
    assert [line["custom_id"] for line in lines] == [f"req-{number}" for number in range(30)]
    assert cli.path("bad.jsonl").read_bytes() == b""
    assert {path.name for path in cli.folder.iterdir()} == {"in.jsonl", "out.jsonl", "bad.jsonl", "batchyard-data"}


def test_the_steps_one_by_one(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        done = user(cli, client).run("submit", "-", "--parts", stdin=requests(5))
        id = done.stdout.decode().strip()
        assert done.code == 0 and client.batches.retrieve(id).endpoint == CHAT
        assert cli.run("watch", id).code == 0
        assert document(cli.run("batches", id, "--json"))["id"] == id
        assert id in cli.run("batches").stdout.decode()
        assert cli.run("results", id, "-o", "-").stdout.count(b"\n") == 5
        assert document(cli.run("results", id, "-o", "out", "--json"))["output"]["path"] == "out"
        listed = document(cli.run("files", "--purpose", "batch", "--json"))
        (file,) = listed["data"]
        assert (file["filename"], listed["has_more"]) == ("stdin.jsonl", False)
        assert cli.run("files", file["id"], "--download", "copy", "--delete").code == 0
        assert cli.path("copy").read_bytes() == requests(5)
        gone = cli.run("files", file["id"])
        assert gone.code == 1 and "No such File object" in gone.stderr and "request req_" in gone.stderr
        nothing = cli.run("retry", id)
        assert nothing.code == 1 and "nothing to retry" in nothing.stderr


def test_the_same_submit_with_the_same_key_is_one_batch(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(requests(3))
    with serving(cli, *ECHO) as (_, client):
        words = ("submit", "in.jsonl", "--idempotency-key", "nightly")
        assert user(cli, client).run(*words).stdout == cli.run(*words).stdout != b""
        assert len(client.batches.list().data) == len(client.files.list(purpose="batch").data) == 1


def test_a_batch_is_looked_at_while_it_runs_watched_and_cancelled(cli: Cli) -> None:
    gate = Gate(2)
    cli.path("in.jsonl").write_bytes(requests(4))
    with (
        chatting(gate) as upstream,
        serving(cli, "--upstream", upstream.url + "v1", "--model", "m") as (_, client),
    ):
        id = user(cli, client).run("submit", "in.jsonl").stdout.decode().strip()
        gate.wait_for(4)
        early = cli.run("results", id, "-o", "out.jsonl")
        assert early.code == 1 and "has not ended" in early.stderr and not cli.path("out.jsonl").exists()
        assert cli.run("results", id, "-o", "so-far", "--errors", "bad", "--partial").code == 0
        assert {line["custom_id"] for line in read(cli, "so-far")} <= {"req-0", "req-1"} and read(cli, "bad") == []
        with cli.start("watch", id) as watching:
            watching.wait_for("in_progress: ")
            watching.send(signal.SIGINT)
            assert watching.finish().code == 130
        with cli.start("watch", id) as watching:
            watching.wait_for("in_progress: ")
            assert f"{id}  cancelling" in cli.run("cancel", "--all").stdout.decode()
            gate.open()
            assert watching.finish().code in (0, 5)
        ended = document(cli.run("batches", id, "--json"))
        assert ended["status"] == "cancelled"


def test_what_failed_is_asked_again(cli: Cli) -> None:
    refused = set[str]()

    def moody(exchange: Exchange) -> None:
        """Refuses each text with a 7 once."""
        if exchange.seen.method == "GET":
            exchange.reply(200, b'{"object": "list", "data": [{"id": "m", "object": "model"}]}')
            return
        text = json.loads(exchange.seen.body)["messages"][0]["content"]
        if "7" in text and text not in refused:
            refused.add(text)
            exchange.reply(400, b'{"error": {"message": "not today"}}')
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        exchange.reply(200, json.dumps({"id": "c", "object": "chat.completion", "choices": [choice]}).encode())

    cli.path("in.jsonl").write_bytes(requests(20))
    with (
        scripted(moody) as upstream,
        serving(cli, "--upstream", upstream.url + "v1", "--model", "m") as (_, client),
    ):
        done = user(cli, client).run("submit", "in.jsonl", "-o", "out", "--errors", "bad", "--json")
        first = json.loads(done.stdout)
        assert done.code == 3 and [line["custom_id"] for line in read(cli, "bad")] == ["req-7", "req-17"]
        again = cli.run("retry", first["id"], "--metadata", "try=2").stdout.decode().strip()
        second = document(cli.run("watch", again, "--json"))
        assert (second["retry_of"], second["metadata"]) == (first["id"], {"try": "2"})
        assert cli.run("results", again, "-o", "out2").code == 0
        assert [line["custom_id"] for line in read(cli, "out2")] == ["req-7", "req-17"]


def read(cli: Cli, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli.path(name).read_bytes().splitlines()]


def test_lines_that_cannot_run_are_named_and_nothing_is_sent(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        for content, said in (
            (requests(2) + b'{"custom_id": "x"\n', "line 3: invalid_json_line"),
            (requests(1) + requests(2, model="other").splitlines(keepends=True)[1], "more than one model (m, other)"),
            (b"\n", "no lines"),
        ):
            done = user(cli, client).run("submit", "-", stdin=content)
            assert done.code == 1 and said in done.stderr and "nothing was sent" in done.stderr
        other = cli.run("submit", "-", "--endpoint", "/v1/embeddings", stdin=requests(1))
        assert other.code == 1 and "The lines are for /v1/chat/completions" in other.stderr
        assert client.files.list().data == []
        sent = cli.run("submit", "-", "--no-check", "--wait", stdin=requests(1) + b"nonsense\n")
        assert sent.code == 6 and "line 2" in sent.stdout.decode()


def test_a_wrong_key_is_said_before_anything_is_sent(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(requests(1))
    with serving(cli, *ECHO) as (_, client):
        user(cli, client).environment["BATCHYARD_API_KEY"] = "by-wrong"
        done = cli.run("submit", "in.jsonl")
    assert done.code == 1 and "Incorrect API key" in done.stderr and "--api-key-env" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == b""


def test_a_server_that_is_not_there_is_one_line(cli: Cli) -> None:
    done = cli.run("batches", "--base-url", "http://127.0.0.1:1/v1")
    assert done.code == 1 and "Is the server running" in done.stderr and done.stderr.count("\n") == 1


ANSWERED = b"".join(
    json.dumps({"custom_id": f"req-{number}", "response": {"status_code": status, "body": {}}}).encode() + b"\n"
    for number, status in ((2, 200), (1, 429), (0, 200))
)


class Vendor:
    """A server that is not ours: no events, no idempotency, other words; its answer to a new batch is lost once."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.polls = 0
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        method, path = exchange.seen.method, exchange.seen.path.partition("?")[0].removeprefix("/openai/v1")
        with self._lock:
            steps: dict[tuple[str, str], Callable[[Exchange], None]] = {
                ("GET", "/files"): _says({"data": [], "has_more": False}),
                ("POST", "/files"): _says({"id": "file-in", "object": "file"}),
                ("POST", "/batches"): self._make,
                ("GET", "/batches"): _says({"data": self.made[:1], "has_more": False}),
                ("GET", "/batches/b-1"): self._show,
                ("GET", "/files/file-out/content"): answers(200, ANSWERED),
                ("GET", "/files/file-in/content"): answers(200, requests(4)),
            }
            steps.get((method, path), answers(404, b'{"error": {"message": "Invalid URL"}}'))(exchange)

    def _make(self, exchange: Exchange) -> None:
        self.made.append({"id": "b-1", "status": "queued", **json.loads(exchange.seen.body)})
        exchange.drop()

    def _show(self, exchange: Exchange) -> None:
        self.polls += 1
        done = {"status": "done", "output_file_id": "file-out"} if self.polls > 2 else {"status": "crunching"}
        _says({**self.made[0], **done})(exchange)


def _says(value: object) -> Step:
    return answers(200, json.dumps(value).encode())


def test_any_server_will_do_and_a_lost_answer_makes_no_second_batch(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(requests(1))
    vendor = Vendor()
    with scripted(vendor) as script:
        cli.environment |= {"OPENAI_BASE_URL": script.url + "openai/v1", "OPENAI_API_KEY": "sk"}
        done = cli.run("submit", "in.jsonl", "-o", "out.jsonl")
        assert done.code == 0, done.stderr
        retried_at = len(script.seen)
        again = cli.run("retry", "b-1")
    assert len(vendor.made) == 2 and vendor.made[0]["endpoint"] == CHAT
    assert "crunching" in done.stderr and cli.path("out.jsonl").read_bytes() == ANSWERED
    assert again.code == 0 and again.stdout == b"b-1\n"
    (sent,) = (seen for seen in script.seen[retried_at:] if seen.path.endswith("/files") and seen.method == "POST")
    assert b"".join(requests(4).splitlines(keepends=True)[number] for number in (1, 3)) in sent.body
    assert all(f'"req-{number}"'.encode() not in sent.body for number in (0, 2))
    assert all(seen.headers["authorization"] == "Bearer sk" for seen in script.seen)


def test_a_killed_download_goes_on(cli: Cli, tmp_path: Path) -> None:
    cli.path("in.jsonl").write_bytes(requests(200))
    with serving(cli, *ECHO) as (_, client):
        batch = document(user(cli, client).run("submit", "in.jsonl", "--wait", "--json"))
        whole = client.files.content(batch["output_file_id"]).content
        partial = tmp_path / f".out.{batch['output_file_id']}.partial"
        partial.write_bytes(whole[:1_000])
        assert cli.run("results", batch["id"], "-o", "out").code == 0
        assert cli.path("out").read_bytes() == whole and not partial.exists()
        partial.write_bytes(b"x" * 1_000)
        broken = cli.run("results", batch["id"], "-o", "out2")
        assert broken.code == 0


def test_a_line_without_a_model_is_told_what_mends_it_here(cli: Cli) -> None:
    cli.path("in.jsonl").write_bytes(requests(1).replace(b'"model": "m", ', b""))
    done = cli.run("submit", "in.jsonl", "--base-url", "http://127.0.0.1:9/v1")
    assert done.code == 1 and "Add 'model' to the body." in done.stderr and "--model" not in done.stderr, done.stderr
