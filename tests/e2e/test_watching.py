"""A batch watched from outside: by events, by results before its end, by logs; and a server that stops meanwhile."""

import json
import signal

import httpx2

from tests.support.batches import create, ended, requests, serving, url_of
from tests.support.cli import Cli

SERVE = ("--engine", "echo", "--model", "m", "--log-format", "json", "--log-level", "info")


def test_a_batch_is_watched_to_its_end_and_its_log_is_json(cli: Cli) -> None:
    with serving(cli, *SERVE) as (run, client):
        headers = {"authorization": f"Bearer {client.api_key}"}
        batch = create(client, requests(200))
        with httpx2.stream("GET", f"{url_of(run)}/v1/batches/{batch.id}/events", headers=headers, timeout=60) as answer:
            names = [line[7:] for line in answer.iter_lines() if line.startswith("event: ")]
        assert names[-1] == "batch.completed"
        output = client.files.content(ended(client, batch.id).output_file_id or "").content
        data, after, complete = b"", "", "false"
        while complete != "true":
            query = {"after": after, "kind": "output", "limit": 70}
            answer = client.get(f"/batches/{batch.id}/results", cast_to=httpx2.Response, options={"params": query})
            data, after = data + answer.content, answer.headers["x-batchyard-watermark"]
            complete = answer.headers["x-batchyard-complete"]
        assert data == output
        run.send(signal.SIGTERM)
        done = run.finish()
        assert done.code == 0
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    lives = [event["event"] for event in events if event.get("batch_id") == batch.id and event["event"] != "call"]
    assert lives == ["batch_created", "batch_in_progress", "batch_finalizing", "batch_completed"]
    assert all(event["request_id"].startswith("req_") for event in events if event["event"] == "call")
    assert client.api_key not in "".join(map(json.dumps, events))


def test_a_server_that_stops_ends_its_streams_at_once(cli: Cli) -> None:
    with serving(cli, *SERVE, "--grace", "60") as (run, client):
        headers = {"authorization": f"Bearer {client.api_key}"}
        with httpx2.stream("GET", f"{url_of(run)}/v1/events", headers=headers, timeout=30) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: ready"
            run.send(signal.SIGTERM)
            assert "event" not in "".join(lines)
        assert run.finish().code == 0
