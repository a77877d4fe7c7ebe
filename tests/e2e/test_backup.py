"""A server's data, saved while it runs, and brought back into another server."""

from pathlib import Path

import pytest

from tests.support.batches import assert_whole, create, ended, requests, serving, until
from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli

ECHO = ("--engine", "echo", "--model", "m")


def test_a_running_server_is_saved_and_another_goes_on_from_there(cli: Cli) -> None:
    content, gate = requests(200), Gate(100)
    with chatting(gate) as upstream:
        words = ("--model", "m", "--upstream", upstream.url + "v1")
        with serving(cli, *words) as (run, client):
            done = create(client, requests(3))
            before = ended(client, done.id)
            running = create(client, content)
            gate.wait_for(3 + 97 + 1)
            until(client, running.id, lambda batch: bool(batch.request_counts and batch.request_counts.completed))
            saved = cli.run("backup", "saved")
            assert saved.code == 0 and "1 running batches" in saved.stderr, saved.stderr
            run.end()
        gate.open()
        assert cli.run("restore", "saved", "--data-dir", "other", "--verify").code == 0
        asked = len(gate.asked)
        with serving(cli, *words, "--data-dir", "other") as (_, client):
            assert client.batches.retrieve(done.id) == before
            assert_whole(client, before, [f"req-{n}" for n in range(3)])
            assert_whole(client, ended(client, running.id), [f"req-{n}" for n in range(200)])
        assert len(gate.asked) < asked + 200, "what was answered before is not asked again"


@pytest.fixture
def saved(cli: Cli) -> Path:
    """A backup of a server that has answered a batch."""
    with serving(cli, *ECHO) as (_, client):
        ended(client, create(client, requests(3)).id)
        assert cli.run("backup", "saved").code == 0
    return cli.path("saved")


def test_a_backup_holds_no_key(cli: Cli, saved: Path) -> None:
    secret = cli.path("batchyard-data/admin.key").read_bytes().strip()
    assert not any(secret in path.read_bytes() for path in saved.rglob("*") if path.is_file())
    assert saved.stat().st_mode & 0o777 == 0o700


def test_the_secret_of_webhooks_is_saved_and_stays_private(cli: Cli, saved: Path) -> None:
    assert cli.run("restore", "saved", "--data-dir", "other").code == 0
    first, *others = (cli.path(folder) / "webhook.secret" for folder in ("batchyard-data", "saved", "other"))
    for other in others:
        assert other.read_bytes() == first.read_bytes() and other.stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten(cli: Cli, saved: Path) -> None:
    again = cli.run("backup", str(saved))
    assert again.code == 1 and "exists already" in again.stderr
    there = cli.run("restore", str(saved))
    assert there.code == 1 and "not empty" in there.stderr


def test_what_is_no_data_folder_cannot_be_saved(cli: Cli) -> None:
    done = cli.run("backup", "saved", "--data-dir", "nowhere")
    assert done.code == 1 and "no database" in done.stderr
    assert not list(cli.path(".").glob("saved*"))


@pytest.mark.parametrize("what", ["cut", "changed", "missing", "facts", "about"])
def test_a_backup_that_is_not_whole_is_refused_and_leaves_nothing(cli: Cli, saved: Path, what: str) -> None:
    blob = max((saved / "blobs/files").iterdir(), key=lambda path: path.stat().st_size)
    data = blob.read_bytes()
    blob.unlink()  # it is linked with the server's own
    match what:
        case "cut":
            blob.write_bytes(data[:-1])
        case "changed":
            blob.write_bytes(data[:-2] + b"x\n")
        case "facts":
            blob.write_bytes(data)
            (saved / "facts.db").write_bytes(b"no database" * 1000)
        case "about":
            blob.write_bytes(data)
            (saved / "backup.json").unlink()
        case _:
            pass
    done = cli.run("restore", str(saved), "--data-dir", "other", "--verify")
    assert done.code == 1 and "Traceback" not in done.stderr, done.stderr
    assert not list(cli.path(".").glob("other*"))
