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
from tests.support.rows import a_row, as_line, succeeded

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


def create_rows(client: OpenAI, content: bytes) -> Batch:
    """On Gemini's wire, of a file."""
    file = client.files.create(file=("in.jsonl", _as_rows(content)), purpose="batch")
    return _create_on_gemini(client, {"fileName": f"files/{file.id.removeprefix('file-')}"})


def create_inline(client: OpenAI, content: bytes) -> Batch:
    """On Gemini's wire, of requests in the call, which keep their key as metadata."""
    rows = [json.loads(row) for row in _as_rows(content).splitlines()]
    asked = [{"request": row["request"], "metadata": {"key": row["key"]}} for row in rows]
    return _create_on_gemini(client, {"requests": {"requests": asked}})


CREATE = {"openai": create, "gemini file": create_rows, "gemini inline": create_inline}
"""How batches are asked for; whichever way, all wires show them."""


def _as_rows(content: bytes) -> bytes:
    lines = [json.loads(line) for line in content.splitlines()]
    return b"".join(a_row(line["custom_id"], line["body"]["messages"][0]["content"]) for line in lines)


def _create_on_gemini(client: OpenAI, source: dict[str, Any]) -> Batch:
    url = str(client.base_url).replace("/v1/", "/gemini/v1beta/models/m:batchGenerateContent")
    made: Any = client.post(url, cast_to=object, body={"batch": {"inputConfig": source}})
    return client.batches.retrieve(made["name"].replace("batches/", "batch_"))


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


def results_of(client: OpenAI, batch: Batch) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines that succeeded, and the others, as OpenAI's wire has them."""
    output = lines_of(client, batch.output_file_id)
    if not output or "custom_id" in output[0]:
        return output, lines_of(client, batch.error_file_id)
    rows = [row if "key" in row else row | row["metadata"] for row in output]
    good = [as_line(row) for row in rows if succeeded(row)]
    return good, [as_line(row) for row in rows if not succeeded(row)]


def assert_whole(client: OpenAI, batch: Batch, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Every id exactly once, in one of the files; counts and tokens as there. The ids of both files."""
    output, errors = results_of(client, batch)
    assert sorted(line["custom_id"] for line in [*output, *errors]) == sorted(ids)
    assert all(line["response"]["status_code"] == 200 for line in output)
    ran = [line for line in errors if line["error"] is None]
    counts, usage = batch.request_counts, batch.usage
    assert counts and (counts.total, counts.completed, counts.failed) == (len(ids), len(output), len(ran))
    used = [usage_of(json.dumps(line["response"]["body"]).encode()) for line in output]
    assert usage and usage.input_tokens == sum(each.input_tokens for each in used)
    return [line["custom_id"] for line in output], [line["custom_id"] for line in errors]
