"""What sending a request costs: the whole dispatcher against a null upstream, beside a plain aiohttp `gather` script.

    python bench/dispatch.py [--lines 100000] [--gather-lines 20000] [--json FILE]

The null upstream (null_upstream.c, compiled here) has core 1, the tool under test core 0. Each tool runs in a process
of its own and reports requests per second of wall time, CPU microseconds per request (user + system, all threads) and
peak RSS. Both send the same 2 KB lines and keep every answer: ours in the journal (synced in groups of at most
50 ms), retries, timeouts and limits on; `gather` as such scripts do, in a list that is written at the end.
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
from typing import Any

import uvloop

from batchyard.config import DispatchSettings
from batchyard.dialects import openai
from batchyard.disks.local import LocalDisk
from batchyard.endpoints import chat
from batchyard.engines import http
from batchyard.journals.disk import open_journal
from batchyard.offload import ThreadOffload
from batchyard.pipeline.dispatch import dispatch
from batchyard.pipeline.plan import Plan
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from batchyard.pipeline.validate import Reader, validate

HERE = Path(__file__).parent
LINE_BYTES = 2000
CHAT = "/v1/chat/completions"


# Ours


async def ours(url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, Any]:
    """Plan, reader, dialect, dispatcher, engine and journal as a run has them; the pass that makes the plan is its own
    bench, so its time is given back."""
    disk, offload, tally = LocalDisk(), ThreadOffload(), Tally()
    dialect = openai.open(openai.Config(run_id="bench", endpoints={CHAT: chat.Chat()}))
    planning = _cpu_and_wall()
    validate(disk, path, f"{path}.plan", dialect, dedupe=False, on_progress=lambda *_: None)
    planned = [after - before for before, after in zip(planning, _cpu_and_wall(), strict=True)]
    plan, reader = Plan.open(disk, f"{path}.plan"), Reader(disk, path)
    journal = await open_journal(disk, offload, f"{path}.journal", plan.lines)
    engine = http.open(http.Config(urls=(url,), api_key="none"))
    requests = (dialect.request(place, reader.line(entry)) for place, entry in plan.entries())
    settings = DispatchSettings(max_inflight=max_inflight)
    abilities = await engine.start()
    await dispatch(requests, engine, abilities, journal, settings, tally, Stop(), random=random.Random(0))
    await journal.close()
    await engine.close()
    offload.close()
    assert journal.recorded.succeeded == tally.succeeded == lines, tally
    return {"limit": tally.limit, "retries": tally.retries, "not_counted": planned}


# The plain script


async def gather(url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, Any]:
    import aiohttp

    entries = _entries(path, lines)
    connector = aiohttp.TCPConnector(limit=max_inflight or 256)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(entry: dict[str, Any]) -> dict[str, Any]:
            async with session.post(url + CHAT, json=entry["body"]) as response:
                body = await response.json()
                return {"custom_id": entry["custom_id"], "response": {"status_code": response.status, "body": body}}

        results = await asyncio.gather(*(ask(entry) for entry in entries))
    _write_results(f"{path}.gathered", results)
    assert len(results) == lines
    return {}


def _entries(path: str, lines: int) -> list[dict[str, Any]]:
    with open(path) as file:
        return [json.loads(line) for _, line in zip(range(lines), file, strict=False)]


def _write_results(path: str, results: list[dict[str, Any]]) -> None:
    with open(path, "w") as file:
        file.writelines(json.dumps(result) + "\n" for result in results)


TOOLS: dict[str, Callable[[str, str, int, int | None], Awaitable[dict[str, Any]]]] = {
    "batchyard": ours,
    "gather": gather,
}


def measure(tool: str, url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, Any]:
    """Run a tool in this process and say what it cost."""
    began = _cpu_and_wall()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        notes = runner.run(_as_coroutine(TOOLS[tool](url, path, lines, max_inflight)))
    cpu, seconds = (
        after - start - other
        for after, start, other in zip(_cpu_and_wall(), began, notes.pop("not_counted", (0, 0)), strict=True)
    )
    return {
        "tool": tool,
        "requests": lines,
        "requests_per_second": round(lines / seconds),
        "cpu_us_per_request": round(cpu / lines * 1e6, 1),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        **notes,
    }


def _cpu_and_wall() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


async def _as_coroutine(notes: Awaitable[dict[str, Any]]) -> dict[str, Any]:
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


def _in_own_process(tool: str, url: str, path: str, lines: int, max_inflight: int | None) -> dict[str, Any]:
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


def _print_table(rows: list[dict[str, Any]]) -> None:
    print(f"{'tool':<12}{'requests':>10}{'req/s':>10}{'CPU us/req':>12}{'RSS MB':>8}  notes")
    for row in rows:
        notes = " ".join(f"{name}={row[name]}" for name in ("limit", "retries") if name in row)
        cells = (row["requests"], row["requests_per_second"], row["cpu_us_per_request"], row["rss_mb"])
        print(f"{row['tool']!s:<12}{cells[0]:>10}{cells[1]:>10}{cells[2]:>12}{cells[3]:>8}  {notes}")


def _recipe(lines: int) -> dict[str, Any]:
    return {
        "lines": lines,
        "line_bytes": LINE_BYTES,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    main()
