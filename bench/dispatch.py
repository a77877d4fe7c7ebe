"""What sending a request costs: the whole dispatcher against a null upstream, beside a plain aiohttp `gather` script.

    python bench/dispatch.py [--lines 100000] [--gather-lines 20000] [--json FILE]

The null upstream (null_upstream.c, compiled here) has core 1, the tool under test core 0. Each tool runs in a process
of its own and reports requests per second of wall time, CPU microseconds per request (user + system, all threads) and
peak RSS. Both send the same 2 KB lines and keep every answer: ours in a journal that is synced in groups of at most
50 ms, retries, timeouts and limits on; `gather` as such scripts do, in a list that is written at the end.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from batchyard.config import DispatchSettings
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Result
from batchyard.engines import http
from batchyard.journal import GROUP_SECONDS
from batchyard.offload import ThreadOffload
from batchyard.pipeline.dispatch import dispatch
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally

HERE = Path(__file__).parent
LINE_BYTES = 2000
CHAT = "/v1/chat/completions"


class Line(msgspec.Struct):
    custom_id: str
    url: str
    body: msgspec.Raw


# Ours


class GroupJournal:
    """A stand-in for the journal where the real one is not at hand: the same bytes and the same syncs, no index."""

    ROOM_BYTES = 16 << 20

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        self._offload = ThreadOffload()
        self._records: list[bytes] = []
        self._bytes = 0
        self._written = asyncio.Event()
        self.count = 0

    def append(self, result: Result) -> None:
        reply = result.reply
        assert isinstance(reply, Answer), reply
        record = b"%d %d %b\n" % (result.line, reply.status, reply.body)
        self._records.append(record)
        self._bytes += len(record)
        self.count += 1

    async def room(self) -> None:
        while self._bytes > self.ROOM_BYTES:
            self._written.clear()
            await self._written.wait()

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(GROUP_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        records, self._records, self._bytes = self._records, [], 0
        self._written.set()
        if records:
            await self._offload(lambda: self._write(records))

    def _write(self, records: list[bytes]) -> None:
        data = memoryview(b"".join(records))
        while data:
            data = data[os.write(self._file, data) :]
        os.fdatasync(self._file)


async def ours(url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, object]:
    engine = http.open(http.Config(urls=(url,), api_key="none"))
    journal = GroupJournal(f"{path}.journal")
    tally = Tally()
    settings = DispatchSettings(max_inflight=max_inflight)
    abilities = await engine.start()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(journal.keep_writing())
        await dispatch(
            _requests(path, lines), engine, abilities, journal, settings, tally, Stop(), random=random.Random(0)
        )
        await journal.flush()
        writing.cancel()
    await engine.close()
    assert journal.count == tally.succeeded == lines, tally
    return {"limit": tally.limit, "retries": tally.retries}


def _requests(path: str, lines: int) -> Iterator[Request]:
    decode = msgspec.json.Decoder(Line).decode
    with open(path, "rb", buffering=1 << 20) as file:
        for place, line in zip(range(lines), file, strict=False):
            fields = decode(line)
            yield Request(place, fields.custom_id, CHAT, "null", bytes(fields.body))


# The plain script


async def gather(url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, object]:
    import aiohttp

    entries = [json.loads(line) for line in Path(path).read_text().splitlines()[:lines]]  # noqa: ASYNC240 - as such scripts do
    connector = aiohttp.TCPConnector(limit=max_inflight or 256)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(entry: dict[str, object]) -> dict[str, object]:
            async with session.post(url + CHAT, json=entry["body"]) as response:
                body = await response.json()
                return {"custom_id": entry["custom_id"], "response": {"status_code": response.status, "body": body}}

        results = await asyncio.gather(*(ask(entry) for entry in entries))
    Path(f"{path}.gathered").write_text("".join(json.dumps(result) + "\n" for result in results))  # noqa: ASYNC240
    assert len(results) == lines
    return {}


TOOLS: dict[str, Callable[[str, str, int, int | None], Awaitable[dict[str, object]]]] = {
    "batchyard": ours,
    "gather": gather,
}


def measure(tool: str, url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, object]:
    """Run a tool in this process and say what it cost."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        notes = runner.run(_as_coroutine(TOOLS[tool](url, path, lines, max_inflight)))
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "tool": tool,
        "requests": lines,
        "requests_per_second": round(lines / seconds),
        "cpu_us_per_request": round(cpu / lines * 1e6, 1),
        "rss_mb": after.ru_maxrss >> 10,
        **notes,
    }


async def _as_coroutine(notes: Awaitable[dict[str, object]]) -> dict[str, object]:
    return await notes


# Around them


def main() -> None:
    arguments = _arguments()
    if arguments.tool:
        print(
            json.dumps(measure(arguments.tool, arguments.url, arguments.path, arguments.lines, arguments.max_inflight))
        )
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.folder) as folder:
        path = _write_lines(Path(folder), arguments.lines)
        with _null_upstream(Path(folder)) as url:
            rows = [
                _in_own_process("batchyard", url, path, arguments.lines, arguments.max_inflight),
                _in_own_process(
                    "gather", url, path, min(arguments.lines, arguments.gather_lines), arguments.max_inflight
                ),
            ]
    _print_table(rows)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"recipe": _recipe(arguments.lines), "rows": rows}, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--gather-lines", type=int, default=20_000, help="fewer: it holds all of them in memory")
    parser.add_argument("--max-inflight", type=int, help="default: found by the dispatcher; 256 for gather")
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    parser.add_argument("--json", help="write the table here, too")
    for hidden in ("--tool", "--url", "--path"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


def _write_lines(folder: Path, lines: int) -> str:
    path = folder / "lines.jsonl"
    filler = "lorem ipsum dolor sit amet consectetur " * (LINE_BYTES // 39)
    with open(path, "w") as file:
        for place in range(lines):
            body = {"model": "null", "messages": [{"role": "user", "content": f"{place} {filler}"}], "max_tokens": 100}
            line = {"custom_id": f"request-{place}", "method": "POST", "url": CHAT, "body": body}
            file.write(json.dumps(line) + "\n")
    return str(path)


@contextmanager
def _null_upstream(folder: Path) -> Iterator[str]:
    program = folder / "null_upstream"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "null_upstream.c"], check=True)
    server = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
    try:
        _pin(server.pid, 1)
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.communicate()


def _in_own_process(tool: str, url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, object]:
    words = [sys.executable, __file__, "--tool", tool, "--url", url, "--path", path, "--lines", str(lines)]
    if max_inflight:
        words += ["--max-inflight", str(max_inflight)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: _pin(0, 0))
    return json.loads(done.stdout)


def _pin(pid: int, core: int) -> None:
    """Where there are several cores, tool and upstream must not take turns on one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core]})


def _print_table(rows: list[dict[str, object]]) -> None:
    print(f"{'tool':<12}{'requests':>10}{'req/s':>10}{'CPU us/req':>12}{'RSS MB':>8}  notes")
    for row in rows:
        notes = " ".join(f"{name}={row[name]}" for name in ("limit", "retries") if name in row)
        cells = (row["requests"], row["requests_per_second"], row["cpu_us_per_request"], row["rss_mb"])
        print(f"{row['tool']!s:<12}{cells[0]:>10}{cells[1]:>10}{cells[2]:>12}{cells[3]:>8}  {notes}")


def _recipe(lines: int) -> dict[str, object]:
    return {
        "lines": lines,
        "line_bytes": LINE_BYTES,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    main()
