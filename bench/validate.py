"""What checking a file costs: `batchyard validate` beside a plain script with `json.loads`.

    python -m bench.validate [--lines 200000] [--line-bytes 2000] [--repeats 3] [--folder DIR]

Both are whole commands on the same file. Ours also writes the plan, digests the file and every request, and finds
repeated requests; the script holds all ids in memory.
"""

import sys
from pathlib import Path

from bench.command import BATCHYARD, HERE, Cost, run
from bench.make_lines import Recipe, write_lines
from bench.table import Row, row

GOAL_CPU_SECONDS = 30
"""For 5 million lines of 2 KB."""


def validate(folder: Path, source: Path) -> Cost:
    """The whole command; raises where it finds a fault."""
    log = folder / "log.txt"
    cost = run([*BATCHYARD, "validate", "--progress", "none", source], log=log)
    if cost.exit_code:
        raise RuntimeError(log.read_text())
    return cost


def compare(folder: Path, recipe: Recipe, repeats: int, *, peer: bool = True) -> list[Row]:
    source = folder / "validate.jsonl"
    write_lines(source, recipe)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(validate(folder, source))
        if peer:
            theirs.append(run([sys.executable, HERE / "peers" / "check_lines.py", source], log=folder / "log.txt"))
    source.unlink()
    rows = [row("validate", "batchyard validate", recipe.lines, ours, "whole command")]
    return [*rows, row("validate", "json.loads script", recipe.lines, theirs, "whole command")] if peer else rows


if __name__ == "__main__":
    from bench.asked import alone

    alone(compare, lines=200_000)
