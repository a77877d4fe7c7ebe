"""Keys and projects, managed beside a server that runs and without one."""

import json
from typing import Any

import pytest
from openai import AuthenticationError, OpenAI, PermissionDeniedError

from tests.support.batches import serving, url_of
from tests.support.cli import Cli, Done

ECHO = ("--engine", "echo", "--model", "m")
A_SECOND = 1.0


def secret(done: Done) -> str:
    """What KEY=$(...) would hold: standard output is the secret and nothing else."""
    assert done.code == 0, done.stderr
    text = done.stdout.decode()
    assert text.startswith("by-") and text.count("\n") == 1 and text.strip() not in done.stderr
    return text.strip()


def document(done: Done) -> Any:
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def with_key(client: OpenAI, key: str) -> OpenAI:
    return client.with_options(api_key=key, max_retries=0)


def test_a_running_server_takes_new_keys_and_refuses_revoked_ones(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        key = secret(cli.run("keys", "create", "laptop"))
        laptop = with_key(client, key)
        assert laptop.models.list().data[0].id == "m"
        revoked = cli.run("keys", "revoke", key[:11])
        assert revoked.code == 0 and "laptop" in revoked.stderr
        until_refused(laptop)
        states = {each["name"]: each["state"] for each in document(cli.run("keys", "list", "--json"))["data"]}
        assert states == {"first": "active", "laptop": "revoked"}


def until_refused(client: OpenAI) -> None:
    """Within a second of the revocation, whatever the server remembers of a key."""
    import time

    end = time.monotonic() + A_SECOND
    while time.monotonic() < end:
        try:
            client.models.list()
        except AuthenticationError:
            return
    with pytest.raises(AuthenticationError):
        client.models.list()


def test_a_project_has_its_own_keys_and_sees_nothing_else(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        client.files.create(file=("a", b"{}\n"), purpose="user_data")
        id = cli.run("projects", "create", "acme").stdout.decode().strip()
        assert id in cli.run("projects", "list").stdout.decode()
        theirs = with_key(client, secret(cli.run("keys", "create", "--project", "acme", "--role", "viewer")))
        assert theirs.files.list().data == []
        with pytest.raises(PermissionDeniedError):
            theirs.files.create(file=("a", b"{}\n"), purpose="user_data")
        (key,) = document(cli.run("keys", "list", "--project", id, "--json"))["data"]
        assert (key["project"], key["role"], key["state"]) == ("acme", "viewer", "active") and "secret" not in key


def test_a_rotated_key_works_until_its_grace_is_over(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        old = secret(cli.run("keys", "create", "ci", "--expires", "90d"))
        new = secret(cli.run("keys", "rotate", old[:11], "--grace", "1h"))
        assert new != old
        for key in (old, new):
            with_key(client, key).models.list()
        secret(cli.run("keys", "rotate", new[:11], "--grace", "0s"))
        until_refused(with_key(client, new))
        rows = document(cli.run("keys", "list", "--json"))["data"]
        assert [row["expires"] is None for row in rows] == [True, False, False, False]


def test_keys_are_managed_without_a_server_and_outlive_it(cli: Cli) -> None:
    with serving(cli, *ECHO):
        pass
    key = secret(cli.run("keys", "create"))
    assert cli.run("keys", "list").stdout.decode().count("\n") == 3
    with serving(cli, *ECHO) as (_, client):
        with_key(client, key).models.list()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("keys", "list", "--data-dir", "nowhere"), 1, "no server's data in nowhere"),
        (("keys", "create", "--role", "king"), 2, "king is no role"),
        (("keys", "create", "--expires", "soon"), 2, "soon is not a time"),
        (("keys",), 2, "create"),
    ],
)
def test_what_cannot_be_done_is_said(cli: Cli, words: tuple[str, ...], code: int, said: str) -> None:
    done = cli.run(*words)
    assert done.code == code and said in done.stderr + done.stdout.decode() and "Traceback" not in done.stderr
    assert not cli.path("nowhere").exists()


def test_unknown_and_taken_names_are_said(cli: Cli) -> None:
    with serving(cli, *ECHO):
        pass
    for words, said in (
        (("keys", "revoke", "key_no"), "No such key: key_no"),
        (("keys", "rotate", "key_no"), "No such key: key_no"),
        (("keys", "create", "--project", "nobody"), "No such project: nobody"),
        (("projects", "create", "home"), "already a project named 'home'"),
    ):
        done = cli.run(*words)
        assert done.code == 1 and said in done.stderr and done.stdout == b""


def test_the_first_key_can_be_made_in_an_empty_folder_before_the_first_start(cli: Cli) -> None:
    """So that a server may be public from its first start, and its first key stands in no log."""
    cli.path("batchyard-data").mkdir(mode=0o700)
    key = secret(cli.run("keys", "create", "mine", "--role", "admin"))
    with cli.start("serve", "--port", "0", "--host", "0.0.0.0", *ECHO) as run:
        run.wait_for("Ready: ")
        port = url_of(run).rpartition(":")[2]
        assert OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key).models.list().data[0].id == "m"
        assert "Administrator's key" not in run.said
    assert not cli.path("batchyard-data/admin.key").exists()
