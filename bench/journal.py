"""What the journal costs: CPU per result when it is written, opened again, replayed and finalized, and memory per line.

    python -m bench.journal [--lines 200000] [--repeats 3] [--folder DIR]

Beside it SQLite, with the same bodies and the same promise: a transaction for each 256 results, in a write-ahead log
that is synced at each commit. Making the results is counted for both. CPU time is what to compare; wall time depends
on the disk.
"""

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from batchyard.config import Order
from batchyard.disks.local import LocalDisk
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Outcome, Result, Usage
from batchyard.journals.disk import open_journal
from batchyard.offload import ThreadOffload
from batchyard.pipeline.finalize import finalize
from bench.asked import alone
from bench.command import Cost
from bench.make_lines import Recipe
from bench.table import Row, row

INFLIGHT = 256


class NoFollowers(Struct, frozen=True):
    """A plan without repeated lines."""

    lines: int
    followers: int = 0

    def entry(self, place: int) -> Line:
        raise NotImplementedError

    def entries(self) -> Iterator[tuple[int, Line]]:
        raise NotImplementedError


class BodyOnly:
    """Writes the body alone, so that what is measured is the station and not a dialect."""

    name = "body"
    unique_ids = False

    def read(self, number: int, line: bytes) -> Line | LineError | Result:
        raise NotImplementedError

    def request(self, place: int, line: bytes) -> Request:
        raise NotImplementedError

    def custom_id(self, line: bytes) -> str | None:
        raise NotImplementedError

    def error(self, error: LineError) -> Result:
        raise NotImplementedError

    def write(self, result: Result) -> bytes:
        return result.reply.body + b"\n"  # pyright: ignore


def compare(folder: Path, recipe: Recipe, repeats: int) -> list[Row]:
    runs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(repeats):
        for tool in ("batchyard", "sqlite"):
            for step, cost in _in_own_process(tool, folder, recipe.lines).items():
                runs.setdefault((step, tool), []).append(cost)
    return [row(f"journal {step}", tool, recipe.lines, costs) for (step, tool), costs in runs.items()]


def _in_own_process(tool: str, folder: Path, lines: int) -> dict[str, Cost]:
    words = [sys.executable, "-m", "bench.journal", "--tool", tool, str(folder), str(lines)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=dict[str, Cost])


def main() -> None:
    if sys.argv[1:2] != ["--tool"]:
        alone(compare, lines=200_000)
        return
    tool, parent, lines = sys.argv[2:]
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        steps = asyncio.run(measure(folder, int(lines))) if tool == "batchyard" else sqlite(folder, int(lines))
        sys.stdout.buffer.write(msgspec.json.encode(steps))


async def measure(folder: str, lines: int) -> dict[str, Cost]:
    steps: dict[str, Cost] = {}
    disk, offload = LocalDisk(), ThreadOffload()
    path = f"{folder}/journal"
    bodies, order = some_bodies(), completion_order(lines)
    journal = await open_journal(disk, offload, path, lines)
    with measured(steps, "append"):
        for number, line in enumerate(order):
            journal.append(a_result(line, bodies))
            if number % INFLIGHT == 0:
                await journal.room()
                await asyncio.sleep(0)
        await journal.flush()
    await journal.close()
    with measured(steps, "open"):
        journal = await open_journal(disk, offload, path, lines)
    assert journal.recorded.succeeded == lines
    with measured(steps, "read"):
        for _ in journal.replay(iter(range(lines))):
            pass
    for order_ in Order:
        with measured(steps, f"finalize, {order_}"):
            write = partial(finalize, disk, NoFollowers(lines), None, journal, BodyOnly())  # pyright: ignore
            write(output=f"{folder}/out.jsonl", errors=None, order=order_, on_progress=lambda _: None)
    await journal.close()
    offload.close()
    return steps


def sqlite(folder: str, lines: int) -> dict[str, Cost]:
    """The same results in a table, with the same durability."""
    steps: dict[str, Cost] = {}
    bodies, order = some_bodies(), completion_order(lines)
    database = sqlite3.connect(f"{folder}/results.db", isolation_level=None)
    database.executescript("pragma journal_mode = wal; pragma synchronous = full;")
    database.execute("create table results (line integer primary key, custom_id text, body blob, seconds real)")
    with measured(steps, "append"):
        for start in range(0, lines, INFLIGHT):
            results = [(line, f"request-{line}", bodies[line & 15], 0.8125) for line in order[start : start + INFLIGHT]]
            database.execute("begin")
            database.executemany("insert into results values (?, ?, ?, ?)", results)
            database.execute("commit")
    with measured(steps, "read"):
        for _ in database.execute("select line, custom_id, body, seconds from results order by line"):
            pass
    database.close()
    return steps


@contextmanager
def measured(steps: dict[str, Cost], name: str) -> Iterator[None]:
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    steps[name] = Cost(
        exit_code=0,
        wall_seconds=time.perf_counter() - began,
        user_seconds=after.ru_utime - before.ru_utime,
        system_seconds=after.ru_stime - before.ru_stime,
        peak_bytes=after.ru_maxrss << (0 if sys.platform == "darwin" else 10),
        stage_peaks={},
        stage_begins={},
    )


def completion_order(lines: int) -> list[int]:
    """Lines in the order of input, but for what is in flight together."""
    random = Random(1)
    order = list(range(lines))
    for start in range(0, lines, INFLIGHT):
        part = order[start : start + INFLIGHT]
        random.shuffle(part)
        order[start : start + INFLIGHT] = part
    return order


def some_bodies(size: int = 850) -> list[bytes]:
    words = "a batch of requests becomes a batch of answers, line by line, and none of them is lost "
    text = (words * (size // len(words) + 1))[: max(size - 150, 1)]
    return [
        json.dumps(
            {"id": f"c{n}", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
        ).encode()
        for n in range(16)
    ]


def a_result(line: int, bodies: list[bytes]) -> Result:
    answer = Answer(200, bodies[line & 15], f"req-{line}", Usage(40, 120))
    return Result(line, f"request-{line}", Outcome.SUCCEEDED, answer, 1, 0.8125)


if __name__ == "__main__":
    main()
