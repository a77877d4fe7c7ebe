"""What the journal costs: CPU per result when it is written, opened again, replayed and finalized, and memory per line.

    python bench/journal.py [--lines N] [--body-bytes N] [--folder FOLDER]

CPU time is what to compare; wall time depends on the disk, and is shown beside it.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

from msgspec import Struct

from batchyard.config import Order
from batchyard.disks.local import LocalDisk
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Outcome, Result, Usage
from batchyard.journals.disk import open_journal
from batchyard.offload import ThreadOffload
from batchyard.pipeline.finalize import finalize

INFLIGHT = 256


class Row(Struct, frozen=True):
    """One line of the table."""

    step: str
    lines: int
    cpu_us_per_line: float
    wall_seconds: float
    peak_mb: float


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--body-bytes", type=int, default=850)
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary folder's")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        rows = asyncio.run(measure(folder, asked.lines, asked.body_bytes))
    print(f"{'step':<28}{'lines':>10}{'us CPU/line':>13}{'wall s':>9}{'peak MB':>9}")
    for row in rows:
        print(f"{row.step:<28}{row.lines:>10}{row.cpu_us_per_line:>13.2f}{row.wall_seconds:>9.2f}{row.peak_mb:>9.0f}")


async def measure(folder: str, lines: int, body_bytes: int) -> list[Row]:
    rows: list[Row] = []
    disk, offload = LocalDisk(), ThreadOffload()
    path = f"{folder}/journal"
    bodies, order = some_bodies(body_bytes), completion_order(lines)
    with measured(rows, "make results (to subtract)", lines):
        for line in order:
            a_result(line, bodies)
    journal = await open_journal(disk, offload, path, lines)
    with measured(rows, "append and commit", lines):
        for number, line in enumerate(order):
            journal.append(a_result(line, bodies))
            if number % INFLIGHT == 0:
                await journal.room()
                await asyncio.sleep(0)
        await journal.flush()
    await journal.close()
    with measured(rows, "open again", lines):
        journal = await open_journal(disk, offload, path, lines)
    assert journal.recorded.succeeded == lines
    with measured(rows, "replay in input order", lines):
        for _ in journal.replay(iter(range(lines))):
            pass
    for order_ in Order:
        with measured(rows, f"finalize, {order_} order", lines):
            write = partial(finalize, disk, NoFollowers(lines), None, journal, BodyOnly())  # pyright: ignore
            write(output=f"{folder}/out.jsonl", errors=None, order=order_, on_progress=lambda _: None)
    await journal.close()
    offload.close()
    return rows


@contextmanager
def measured(rows: list[Row], step: str, lines: int) -> Iterator[None]:
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    rows.append(Row(step, lines, cpu / lines * 1e6, wall, peak))


def completion_order(lines: int) -> list[int]:
    """Lines in the order of input, but for what is in flight together."""
    random = Random(1)
    order = list(range(lines))
    for start in range(0, lines, INFLIGHT):
        part = order[start : start + INFLIGHT]
        random.shuffle(part)
        order[start : start + INFLIGHT] = part
    return order


def some_bodies(size: int) -> list[bytes]:
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
