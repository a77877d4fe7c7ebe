"""What sending a request costs: the whole dispatcher against a null upstream, beside a plain aiohttp `gather` script.

    python -m bench.dispatch [--lines 100000] [--line-bytes 2000] [--repeats 3] [--folder DIR]

The null upstream (null_upstream.c) has one core, the tool under test another. Each tool runs in a process of its own;
what is told is processor time per request (user and system, all threads). Both send lines of the same file and keep
every answer: ours in the journal (synced in groups of at most 50 ms), retries, timeouts and limits on; `gather` as such
scripts do, in a list that is written at the end. The pass that makes our plan is not counted: it is a bench of its own.
"""

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from batchyard.config import DispatchSettings
from batchyard.dialects.lines import openai
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
from bench.asked import alone
from bench.command import Cost, cores, null_upstream
from bench.make_lines import Recipe, write_lines
from bench.table import Row, row

CHAT = "/v1/chat/completions"
GATHERED = 20_000
"""Fewer lines for the script: it holds all of them in memory."""


# Ours


async def ours(url: str, path: str, lines: int) -> dict[str, Any]:
    """Plan, reader, dialect, dispatcher, engine and journal as a run has them."""
    disk, offload, tally = LocalDisk(), ThreadOffload(), Tally()
    dialect = openai.open(openai.Config(run_id="bench", endpoints={CHAT: chat.Chat()}))
    planning = _times()
    validate(disk, path, f"{path}.plan", dialect, dedupe=False, on_progress=lambda *_: None)
    planned = [after - before for before, after in zip(planning, _times(), strict=True)]
    plan, reader = Plan.open(disk, f"{path}.plan"), Reader(disk, path)
    journal = await open_journal(disk, offload, f"{path}.journal", plan.lines)
    engine = http.open(http.Config(urls=(url,), api_key="none"))
    requests = (dialect.request(place, reader.line(entry)) for place, entry in plan.entries())
    settings = DispatchSettings()
    abilities = await engine.start()
    await dispatch(requests, engine, abilities, journal, settings, tally, Stop(), random=random.Random(0))
    await journal.close()
    await engine.close()
    offload.close()
    assert journal.recorded.succeeded == tally.succeeded == lines, tally
    return {"not_counted": planned}


# The plain script


async def gather(url: str, path: str, lines: int) -> dict[str, Any]:
    import aiohttp

    entries = _entries(path, lines)
    connector = aiohttp.TCPConnector(limit=256)
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


TOOLS: dict[str, Callable[[str, str, int], Awaitable[dict[str, Any]]]] = {
    "batchyard": ours,
    "gather": gather,
}


def measure(tool: str, url: str, path: str, lines: int) -> Cost:
    """Run a tool in this process and say what it cost."""
    began = _times()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        notes = runner.run(_as_coroutine(TOOLS[tool](url, path, lines)))
    spent = [
        after - start - other
        for after, start, other in zip(_times(), began, notes.get("not_counted", (0, 0, 0)), strict=True)
    ]
    return Cost(
        exit_code=0,
        user_seconds=spent[0],
        system_seconds=spent[1],
        wall_seconds=spent[2],
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        stage_peaks={},
        stage_begins={},
    )


def _times() -> tuple[float, float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime, time.perf_counter()


async def _as_coroutine(notes: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return await notes


# Around them


def compare(folder: Path, recipe: Recipe, repeats: int) -> list[Row]:
    path, few = folder / "dispatch.jsonl", min(GATHERED, recipe.lines)
    write_lines(path, recipe)
    ours, theirs = [], []
    with null_upstream(folder) as upstream:
        for _ in range(repeats):
            ours.append(_in_own_process("batchyard", upstream.url, path, recipe.lines))
            theirs.append(_in_own_process("gather", upstream.url, path, few))
    return [
        row("dispatch", "batchyard", recipe.lines, ours, "journal, retries, timeouts, adaptive limit"),
        row("dispatch", "aiohttp gather script", few, theirs, "256 connections, no retries"),
    ]


def _in_own_process(tool: str, url: str, path: Path, lines: int) -> Cost:
    words = [sys.executable, "-m", "bench.dispatch", "--tool", tool, url, str(path), str(lines)]
    core = cores()[0]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    return msgspec.json.decode(done.stdout, type=Cost)


def main() -> None:
    if sys.argv[1:2] == ["--tool"]:
        tool, url, path, lines = sys.argv[2:]
        sys.stdout.buffer.write(msgspec.json.encode(measure(tool, url, path, int(lines))))
    else:
        alone(compare, lines=100_000)


if __name__ == "__main__":
    main()
