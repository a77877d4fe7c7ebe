"""What uploads cost: a large file sent again and again to a real server, each time beside calls for a status.

    python -m bench.large_upload [--gigabytes 1] [--runs 5] [--rate MB/S] [--purpose batch] [--folder DIR]

Tells of each upload its rate, the processor time of the server and of its children (who examine it) per gigabyte, what
status calls took meanwhile, and how many cores other programs had; then the median of each. `--rate` bounds the sender,
as a network does. With others at work, calls wait for a core: what they take then says little about the server.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.api import GB, LINE_BYTES, MB, TICKS, Bench, bench

HEAD = f"{'MB/s':>8}{'CPU s/GB':>10}{'child s/GB':>12}{'calls':>8}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'others':>8}"


def row(made: Bench, purpose: str, rate: float | None) -> list[float]:
    """The figures of one upload."""
    began, all_busy, we_busy = time.perf_counter(), busy(), sum(os.times()[:4])
    step = made.upload(purpose, rate)
    ours = sum(os.times()[:4]) - we_busy + step.server_cpu + step.children_cpu
    others = max(busy() - all_busy - ours, 0.0) / (time.perf_counter() - began)
    times = (step.p50_ms, step.p99_ms, step.max_ms)
    return [step.rate / MB, step.cpu_per_gb, step.children_cpu / (step.bytes / GB), step.calls, *times, others]


def busy() -> float:
    """Seconds that all cores have worked, or were taken away."""
    user, nice, system, _, _, *rest = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) / TICKS


def told(figures: list[float]) -> str:
    return "{:>8.0f}{:>10.2f}{:>12.2f}{:>8.0f}{:>8.2f}{:>8.2f}{:>8.1f}{:>8.2f}".format(*figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, help="how many megabytes a second the sender sends at most")
    parser.add_argument("--purpose", default="batch", help="user_data is not examined")
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    asked = parser.parse_args()
    lines, rate = int(asked.gigabytes * GB / LINE_BYTES), asked.rate and asked.rate * MB
    with (
        tempfile.TemporaryDirectory(dir=asked.folder, prefix="upload-") as folder,
        bench(Path(folder), lines, LINE_BYTES) as made,
    ):
        print(HEAD)
        rows: list[list[float]] = []
        for _ in range(asked.runs):
            rows.append(row(made, asked.purpose, rate))
            print(told(rows[-1]), flush=True)
        print(told([statistics.median(each) for each in zip(*rows, strict=True)]) + "  median")


if __name__ == "__main__":
    main()
