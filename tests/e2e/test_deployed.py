"""What the pages on deployment and security say of a server as it runs."""

import http.client
import json
import stat
from urllib.parse import urlsplit

from openai import OpenAI

from tests.support.batches import requests, serving
from tests.support.cli import Cli

ECHO = ("--engine", "echo", "--model", "m")


def test_nobody_else_on_the_machine_can_read_the_data(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        client.files.create(file=("in.jsonl", requests(2)), purpose="batch")
        folder = cli.path("batchyard-data")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        secrets = [path for path in folder.iterdir() if path.name.startswith(("facts.db", "admin.key"))]
        assert len(secrets) >= 2 and {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


def test_a_proxy_on_this_machine_says_which_scheme_and_host_callers_see(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        forwarded = {
            "Host": "batches.example.com",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "elsewhere.example.com",
            "X-Forwarded-For": "203.0.113.7",
        }
        where = _created(client, forwarded)
        assert where.startswith("https://batches.example.com/openai/files/file-")
        assert _created(client, {"Host": "batches.example.com"}).startswith("http://batches.example.com/openai/")


def _created(client: OpenAI, headers: dict[str, str]) -> str:
    """Where a file is that was created under Azure's paths, as the answer's Location says."""
    place = urlsplit(str(client.base_url))
    form = (
        '--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nb\r\n--x--\r\n'
    )
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        kind = {"Content-Type": "multipart/form-data; boundary=x", "api-key": client.api_key}
        connection.request("POST", "/openai/files?api-version=1", form, headers | kind)
        answer = connection.getresponse()
        assert answer.status == 201, json.loads(answer.read())
        return answer.getheader("location") or ""
    finally:
        connection.close()


def test_what_needs_no_key_tells_models_and_nothing_of_callers(cli: Cli) -> None:
    with serving(cli, *ECHO) as (_, client):
        file = client.files.create(file=("in.jsonl", requests(2)), purpose="batch")
        place = urlsplit(str(client.base_url))
        told = b""
        for path in ("/healthz", "/readyz", "/metrics"):
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200
            told += answer.read()
            connection.close()
    assert b'"m"' in told
    assert not [word for word in (file.id, "proj_", "key_", client.api_key[:11]) if word.encode() in told]
