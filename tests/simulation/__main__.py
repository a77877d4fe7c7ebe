"""Run any number of seeds, or one again to look at it.

python -m tests.simulation --seeds 10000 --start 1000
python -m tests.simulation --seed 4711 --trace
"""

import argparse
import os
import sys
import time
import traceback

from tests.simulation.walk import Report, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one seed, and show how it fails")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, trace=asked.trace)
    return _many(asked.start, asked.seeds)


def _one(seed: int, *, trace: bool) -> int:
    report = simulate(seed, keep=trace)
    print("\n".join(report.events), end="\n" if trace else "")
    print(f"seed {seed}: {report.lives} lives, {report.lines} lines, {report.asked} asked, trace {report.checksum:08x}")
    return 0


def _many(start: int, seeds: int) -> int:
    began, failing, reports = time.process_time(), 0, list[Report]()
    for seed in range(start, start + seeds):
        try:
            reports.append(simulate(seed))
        except Exception as error:
            failing += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            print(f"seed {seed} fails: {type(error).__name__}: {error} ({last.name}, line {last.lineno})"[:400])
            print(f"  replay it: python -m tests.simulation --seed {seed} --trace")
    seconds = time.process_time() - began
    lives, lines = sum(report.lives for report in reports), sum(report.lines for report in reports)
    print(
        f"{seeds} seeds, {failing} failing; {lives} lives, {lines} lines; {seconds / seeds * 1e3:.1f} ms CPU per seed"
    )
    return 1 if failing else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of text are walked alike in every process only so
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())
