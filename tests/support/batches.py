"""Batches by the official client against a server in a process of its own: asked for, watched, and checked."""

import json
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from openai import OpenAI
from openai.types import Batch

from batchyard.domain.result import usage_of
from tests.support.cli import Cli, Running

CHAT = "/v1/chat/completions"
TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})
POLLS = 20_000


def url_of(run: Running) -> str:
    """Where a server listens."""
    found = re.search(r"Listening on (http://\S+)", run.said)
    assert found is not None
    return found[1]


@contextmanager
def serving(cli: Cli, *words: str, ready: bool = True) -> Generator[tuple[Running, OpenAI]]:
    """A server, and a client with its administrator's key."""
    with cli.start("serve", "--port", "0", *words) as run:
        run.wait_for("Ready: " if ready else "Listening on ")
        secret = cli.path("batchyard-data/admin.key").read_text().strip()
        with OpenAI(base_url=f"{url_of(run)}/v1", api_key=secret, _strict_response_validation=True) as client:
            yield run, client


def requests(count: int, model: str = "m", **body: Any) -> bytes:
    """So many different chat requests, named req-0, req-1, ..."""
    lines = (
        {
            "custom_id": f"req-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": model, "messages": [{"role": "user", "content": f"text {number}"}], **body},
        }
        for number in range(count)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def create(client: OpenAI, content: bytes) -> Batch:
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


def until(client: OpenAI, id: str, reached: Callable[[Batch], bool]) -> Batch:
    """Ask again and again until the batch is as wanted."""
    for _ in range(POLLS):
        batch = client.batches.retrieve(id)
        if reached(batch):
            return batch
        assert batch.status not in TERMINAL, batch
    raise AssertionError("it never came to that")


def ended(client: OpenAI, id: str) -> Batch:
    return until(client, id, lambda batch: batch.status in TERMINAL)


def lines_of(client: OpenAI, id: str | None) -> list[dict[str, Any]]:
    """The lines of a result file; none where there is no file."""
    return [json.loads(line) for line in client.files.content(id).content.splitlines()] if id else []


def assert_whole(client: OpenAI, batch: Batch, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Every id exactly once, in one of the files; counts and tokens as there. The ids of both files."""
    output, errors = lines_of(client, batch.output_file_id), lines_of(client, batch.error_file_id)
    assert sorted(line["custom_id"] for line in [*output, *errors]) == sorted(ids)
    assert all(line["response"]["status_code"] == 200 for line in output)
    ran = [line for line in errors if line["error"] is None]
    counts, usage = batch.request_counts, batch.usage
    assert counts and (counts.total, counts.completed, counts.failed) == (len(ids), len(output), len(ran))
    used = [usage_of(json.dumps(line["response"]["body"]).encode()) for line in output]
    assert usage and usage.input_tokens == sum(each.input_tokens for each in used)
    return [line["custom_id"] for line in output], [line["custom_id"] for line in errors]
