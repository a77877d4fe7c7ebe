"""What batches on Gemini's wire cost: many embeddings in one, requests that come with the call, a large file.

    python -m bench.gemini [--embeddings 100000] [--inline-mib 19] [--gigabytes 0.5] [--folder DIR]

The real server, called over a socket. Embeddings go to a null upstream, which counts how often it is called; all else
is answered by the echo engine in the server. Every row's answer is checked for its place and its words.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from bench.command import NullUpstream
from bench.served import Caller, Served, served

MODEL = "null"
ECHO = ("--model", MODEL)
LINE_BYTES = 400
POLL_SECONDS = 0.05
_FILLER = "a batch may wait, so it is cheap; " * 64


class Measured(Struct, frozen=True, kw_only=True):
    """One job. `create_seconds` is how long its creation took, `pending_seconds` how long it was not running yet."""

    name: str
    rows: int
    create_seconds: float
    pending_seconds: float
    seconds: float
    read_seconds: float
    server_cpu: float
    server_peak: int
    upstream_calls: int = 0
    in_order: bool

    def report(self) -> str:
        calls = f", {self.upstream_calls:,} calls of the upstream" if self.upstream_calls else ""
        return (
            f"{self.name}: {self.rows:,} rows; created in {self.create_seconds * 1000:.0f} ms, running after "
            f"{self.pending_seconds:.2f} s, ended after {self.seconds:.1f} s, read in {self.read_seconds:.2f} s; "
            f"{self.server_cpu / self.rows * 1e6:.0f} us of processor per row, {self.server_peak / 1e6:.0f} MB at "
            f"most{calls}"
        )


def embeddings(folder: Path, rows: int) -> Measured:
    """A file of texts to embed, each answered by a vector of 384 numbers."""
    upstream = NullUpstream(folder)
    try:
        with served(folder, engine=("--upstream", upstream.url, "--model", MODEL)) as server:
            lines = (json.dumps({"key": str(n), "request": {"content": _content(n)}}) for n in range(rows))
            measured = _of_file(server, "embeddings", "asyncBatchEmbedContent", lines, rows, _is_vector)
    finally:
        calls = upstream.stop()
    return structs.replace(measured, upstream_calls=calls)


def inline(folder: Path, size: int) -> Measured:
    """As many requests as make a call of about so many bytes."""
    rows = size // (LINE_BYTES + 100)
    asked = [{"request": {"contents": [_content(n)]}, "metadata": {"key": str(n)}} for n in range(rows)]
    body = {"batch": {"inputConfig": {"requests": {"requests": asked}}}}
    with served(folder, *ECHO) as server:
        caller, before, began = server.caller(), server.used(), time.perf_counter()
        made = caller.json("POST", f"/v1beta/models/{MODEL}:batchGenerateContent", body)
        created = time.perf_counter()
        running, ended = _follow(caller, made["name"])
        shown = caller.json("GET", f"/v1beta/{made['name']}")
        read = time.perf_counter()
        used = server.used().since(before)
    answers = shown["response"]["inlinedResponses"]["inlinedResponses"]
    in_order = [each["metadata"]["key"] for each in answers] == [str(n) for n in range(rows)]
    in_order &= all(_is_echo(n, each) for n, each in enumerate(answers))
    return Measured(
        name=f"inline, {len(json.dumps(body)) / 1e6:.1f} MB", rows=rows, create_seconds=created - began,
        pending_seconds=running - created, seconds=ended - created, read_seconds=read - ended,
        server_cpu=used.cpu_seconds, server_peak=used.peak_bytes, in_order=in_order,
    )  # fmt: skip


def file(folder: Path, size: int) -> Measured:
    """A file of about so many bytes of requests."""
    rows = size // (LINE_BYTES + 80)
    with served(folder, *ECHO) as server:
        lines = (json.dumps({"key": str(n), "request": {"contents": [_content(n)]}}) for n in range(rows))
        return _of_file(server, f"file, {size / 1e9:.2f} GB", "batchGenerateContent", lines, rows, _is_echo)


def _of_file(server: Served, name: str, call: str, lines: Iterator[str], rows: int, is_right: Any) -> Measured:
    caller = server.caller()
    source = caller.upload("\n".join(lines).encode() + b"\n")
    before, began = server.used(), time.perf_counter()
    wanted = {"batch": {"inputConfig": {"fileName": f"files/{source.removeprefix('file-')}"}}}
    made = caller.json("POST", f"/v1beta/models/{MODEL}:{call}", wanted)
    created = time.perf_counter()
    running, ended = _follow(caller, made["name"])
    output = caller.json("GET", f"/v1beta/{made['name']}")["response"]["responsesFile"]
    content = caller.call("GET", f"/v1beta/{output}:download?alt=media")
    read, used = time.perf_counter(), server.used().since(before)
    answers = [json.loads(line) for line in content.splitlines()]
    right = len(answers) == rows and all(each["key"] == str(n) and is_right(n, each) for n, each in enumerate(answers))
    return Measured(
        name=name, rows=rows, create_seconds=created - began, pending_seconds=running - created,
        seconds=ended - created, read_seconds=read - ended, server_cpu=used.cpu_seconds,
        server_peak=used.peak_bytes, in_order=right,
    )  # fmt: skip


def _follow(caller: Caller, name: str) -> tuple[float, float]:
    """When a job began to run, and when it had ended. Raises RuntimeError where it did not succeed."""
    running = 0.0
    while True:
        shown = caller.json("GET", f"/v1beta/{name}?fields=metadata")
        state, now = shown["metadata"]["state"], time.perf_counter()
        if state != "BATCH_STATE_PENDING" and not running:
            running = now
        if state == "BATCH_STATE_SUCCEEDED":
            return running, now
        if shown.get("done"):
            raise RuntimeError(str(shown.get("error")))
        time.sleep(POLL_SECONDS)


def _content(number: int) -> dict[str, Any]:
    return {"parts": [{"text": _text(number)}]}


def _text(number: int) -> str:
    return f"{number} {_FILLER}"[:LINE_BYTES]


def _is_echo(number: int, row: dict[str, Any]) -> bool:
    return row["response"]["candidates"][0]["content"]["parts"][0]["text"] == _text(number)


def _is_vector(_: int, row: dict[str, Any]) -> bool:
    return len(row["response"]["embedding"]["values"]) == 384


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gemini", description=__doc__)
    parser.add_argument("--embeddings", type=int, default=100_000)
    parser.add_argument("--inline-mib", type=float, default=19)
    parser.add_argument("--gigabytes", type=float, default=0.5)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    jobs = (
        (embeddings, asked.embeddings),
        (inline, int(asked.inline_mib * (1 << 20))),
        (file, int(asked.gigabytes * 1e9)),
    )
    for measure, much in jobs:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            measured = measure(Path(folder), much)
            assert measured.in_order, "answers are not those of their rows"
            print(measured.report(), flush=True)


if __name__ == "__main__":
    main()
