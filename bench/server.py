"""What a server costs and how quickly it answers while batches run: `batchyard serve` with the echo engine.

    python -m bench.server [--lines 200000] [--calls 2000] [--batches 1000] [--many 500] [--folder DIR] [--only NAME...]

The echo engine answers at once, so a batch of it keeps the server busy without a pause: the worst that a call can stand
beside. The server has the first core, the caller the last one. Told are

- `calls`: how long `GET /v1/batches/{id}` takes on a server that has nothing to do, and what it costs,
- `dispatch`: the same beside a batch of `--lines` lines, from its creation to its end, and by its states,
- `upload`: the same while that file arrives,
- `small`: `--batches` batches of ten lines: processor time, syncs and other calls of the disk for each,
- `many`: `--many` batches of 400 lines, of five projects, at once: how long any of them waited for its first answer and
  between two looks at its progress, as shares of the time that all of them took.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from batchyard.clock import SystemClock
from batchyard.domain.access import HOME, Role
from batchyard.domain.access import Caller as Operator
from batchyard.offload import ThreadOffload
from batchyard.service.access import Access
from batchyard.service.ids import Ids
from batchyard.stores import sqlite
from bench.command import cores
from bench.make_lines import Recipe, write_lines
from bench.served import Caller, Refused, Served, Used, served

TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})
PAUSE_SECONDS = 0.003
PROJECTS = 5
CALLERS = 16


class Latency(Struct, frozen=True, kw_only=True):
    """How long calls took, in milliseconds."""

    calls: int
    p50: float
    p99: float
    most: float

    def __str__(self) -> str:
        return f"{self.calls:>7} calls  p50 {self.p50:6.2f} ms  p99 {self.p99:6.2f} ms  max {self.most:7.2f} ms"


class Watched(Struct, frozen=True, kw_only=True):
    """A batch watched from its creation to its end."""

    all: Latency
    by_state: dict[str, Latency]
    used: Used


class Spread(Struct, frozen=True, kw_only=True):
    """How many batches at once fared, from the moment that the last of them was there.

    `at_once` is how many were in progress at the same moment, `first_latest` the share of `seconds` after which every
    batch had an answer, `idle_longest` the longest share that one went without showing progress, before its end.
    """

    seconds: float
    at_once: int
    first_latest: float
    idle_longest: float
    latency: Latency
    used: Used


def latency(seconds: Sequence[float]) -> Latency:
    ranked = sorted(1000 * each for each in seconds)
    return Latency(
        calls=len(ranked),
        p50=ranked[len(ranked) // 2],
        p99=ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)],
        most=ranked[-1],
    )


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = call()
    return time.perf_counter() - began, answer


def idle(server: Served, calls: int) -> tuple[Latency, float]:
    """Latency beside nothing, and processor time of one call in microseconds."""
    caller = server.caller()
    id = caller.create(caller.upload(ten_lines()))
    while caller.batch(id)["status"] not in TERMINAL:
        time.sleep(0.01)
    took = [timed(lambda: caller.batch(id))[0] for _ in range(calls) if not time.sleep(PAUSE_SECONDS)]
    before = server.used()
    for _ in range(calls):
        caller.batch(id)
    cost = server.used().since(before)
    caller.close()
    return latency(took), cost.cpu_seconds / calls * 1e6


def beside_a_batch(server: Served, content: bytes) -> Watched:
    """Ask for one batch and call every few milliseconds until it has ended."""
    caller, by_state = server.caller(), dict[str, list[float]]()
    file = caller.upload(content)
    before = server.used()
    id = caller.create(file)
    while True:
        seconds, batch = timed(lambda: caller.batch(id))
        by_state.setdefault(batch["status"], []).append(seconds)
        if batch["status"] in TERMINAL:
            break
        time.sleep(PAUSE_SECONDS)
    used = server.used().since(before)
    assert batch["status"] == "completed", batch
    caller.close()
    return Watched(
        all=latency([each for took in by_state.values() for each in took]),
        by_state={state: latency(took) for state, took in by_state.items()},
        used=used,
    )


def beside_an_upload(server: Served, content: bytes) -> Latency:
    """Call every few milliseconds while a file arrives."""
    caller, other = server.caller(), server.caller()
    id = caller.create(caller.upload(ten_lines()))
    sending = threading.Thread(target=other.upload, args=(content,))
    sending.start()
    took: list[float] = []
    while sending.is_alive():
        took.append(timed(lambda: caller.batch(id))[0])
        time.sleep(PAUSE_SECONDS)
    caller.close()
    other.close()
    return latency(took)


def small_batches(server: Served, batches: int) -> Used:
    """Ask for batches of ten lines, from several callers at once, as many as the quota allows, until all have ended."""
    first = server.caller()
    file = first.upload(ten_lines())
    before = server.used()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(lambda _: _ask_and_wait(server, file, batches // CALLERS), range(CALLERS)))
    used = server.used().since(before)
    first.close()
    return used


def _ask_and_wait(server: Served, file: str, batches: int) -> None:
    caller, ids = server.caller(), list[str]()
    while len(ids) < batches:
        try:
            ids.append(caller.create(file))
        except Refused as refused:
            assert refused.status == 429, refused
            time.sleep(0.1)
    for id in reversed(ids):
        while (batch := caller.batch(id))["status"] not in TERMINAL:
            time.sleep(0.1)
        assert batch["request_counts"] == {"total": 10, "completed": 10, "failed": 0}, batch
    caller.close()


def many_at_once(server: Served, batches: int, lines: int) -> Spread:
    """Ask for batches of several projects, all at once, and look at all of them until they have ended."""
    callers = [server.caller(secret) for secret in asyncio.run(_keys(server, PROJECTS))]
    content, before = some_lines(lines), server.used()
    with ThreadPoolExecutor(PROJECTS) as pool:
        list(pool.map(lambda caller: _ask(caller, content, batches // PROJECTS), callers))
    began = time.perf_counter()
    moved, first, ended = dict[str, float](), dict[str, float](), dict[str, float]()
    done, took, idlest, at_once = dict[str, int](), list[float](), 0.0, 0
    while len(ended) < batches:
        in_progress = 0
        for caller in callers:
            seconds, page = timed(lambda caller=caller: caller.json("GET", "/v1/batches?limit=100"))
            took.append(seconds)
            now = time.perf_counter()
            for batch in page["data"]:
                id, answered = batch["id"], batch["request_counts"]["completed"]
                in_progress += batch["status"] == "in_progress"
                if answered > done.get(id, 0):
                    if id not in ended:
                        idlest = max(idlest, now - moved.get(id, began))
                    done[id], moved[id] = answered, now
                    first.setdefault(id, now)
                if batch["status"] in TERMINAL:
                    assert batch["status"] == "completed" and answered == lines, batch
                    ended.setdefault(id, now)
        at_once = max(at_once, in_progress)
        time.sleep(0.1)
    total = max(ended.values()) - began
    for caller in callers:
        caller.close()
    return Spread(
        seconds=total,
        at_once=at_once,
        first_latest=(max(first.values()) - began) / total,
        idle_longest=idlest / total,
        latency=latency(took),
        used=server.used().since(before),
    )


def _ask(caller: Caller, content: bytes, batches: int) -> None:
    file = caller.upload(content)
    for _ in range(batches):
        caller.create(file)


async def _keys(server: Served, projects: int) -> list[str]:
    """New projects, each with a key, made beside the running server as its command line does."""
    steps = ThreadOffload()
    store = await sqlite.open(sqlite.Config(path=f"{server.folder}/facts.db"), steps)
    access, operator = Access(store, SystemClock(), Ids(random.SystemRandom())), Operator(HOME, Role.ADMIN)
    secrets: list[str] = []
    for number in range(projects):
        project = await access.create_project(operator, f"bench {number}")
        secrets.append((await access.create_key(operator, "bench", Role.EDITOR, project=project.id))[1])
    await store.close()
    steps.close()
    return secrets


def ten_lines() -> bytes:
    return some_lines(10)


def some_lines(lines: int, line_bytes: int = 500) -> bytes:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "in.jsonl"
        write_lines(path, Recipe(lines=lines, line_bytes=line_bytes))
        return path.read_bytes().replace(b'"model": "null"', b'"model": "echo"')


@contextmanager
def _fresh(folder: str | None) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-") as place, served(Path(place)) as server:
        yield server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--line-bytes", type=int, default=500)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--many-lines", type=int, default=400)
    parser.add_argument("--folder", help="where the data goes (default: the temporary folder)")
    parser.add_argument("--only", nargs="*", default=["calls", "dispatch", "upload", "small", "many"])
    asked = parser.parse_args()
    os.sched_setaffinity(0, {cores()[-1]})
    print(f"load {os.getloadavg()[0]:.2f}")
    for name in asked.only:
        with _fresh(asked.folder) as server:
            _print(name, server, asked)
            sys.stdout.flush()


def _print(name: str, server: Served, asked: argparse.Namespace) -> None:
    match name:
        case "calls":
            took, cost = idle(server, asked.calls)
            print(f"calls, idle          {took}  {cost:.0f} us CPU, {1e6 / cost:,.0f} calls per CPU second")
        case "dispatch":
            watched = beside_a_batch(server, some_lines(asked.lines, asked.line_bytes))
            used = watched.used
            print(f"beside {asked.lines:,} lines  {watched.all}")
            for state, each in watched.by_state.items():
                print(f"  {state:<18} {each}")
            print(
                f"  {used.wall_seconds:.1f} s, {used.cpu_seconds:.1f} s CPU "
                f"({used.cpu_seconds / asked.lines * 1e6:.0f} us per line), peak {used.peak_bytes / 1e6:.0f} MB"
            )
        case "upload":
            print(f"beside an upload     {beside_an_upload(server, some_lines(asked.lines, asked.line_bytes))}")
        case "small":
            print(_each(small_batches(server, asked.batches), asked.batches))
        case "many":
            spread = many_at_once(server, asked.many, asked.many_lines)
            print(
                f"{asked.many} batches at once: {spread.seconds:.1f} s, at most {spread.at_once} in progress; "
                f"all had an answer after {spread.first_latest:.0%} of the time, none waited longer than "
                f"{spread.idle_longest:.0%}; peak {spread.used.peak_bytes / 1e6:.0f} MB\n"
                f"  lists of 100        {spread.latency}"
            )
        case _:
            raise SystemExit(f"There is no part {name!r}.")


def _each(used: Used, batches: int) -> str:
    kinds = ("syncs", "opens", "renames", "removes", "folders")
    disk = ", ".join(f"{getattr(used, kind) / batches:.2f} {kind}" for kind in kinds)
    return (
        f"{batches:,} batches of 10 lines: {used.wall_seconds:.1f} s, "
        f"{used.cpu_seconds / batches * 1e3:.2f} ms CPU each, {disk} each, peak {used.peak_bytes / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
