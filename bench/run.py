"""What a whole run costs: `batchyard run-batch` against a null upstream, beside a plain aiohttp `gather` script.

    python -m bench.run [--lines 200000] [--line-bytes 2000] [--repeats 3] [--folder DIR]

Both are whole commands: they read the file, ask for every line, and write the output. Ours checks every line first,
keeps every answer safe within 50 ms, and has retries, timeouts and adaptive limits on. The script gets fewer lines,
because it holds all of them in memory.
"""

import sys
from pathlib import Path

from bench.command import BATCHYARD, HERE, Cost, null_upstream, run
from bench.make_lines import Recipe, write_lines
from bench.table import Row, row

GATHERED = 20_000


def compare(folder: Path, recipe: Recipe, repeats: int) -> list[Row]:
    few = Recipe(lines=min(recipe.lines, GATHERED), line_bytes=recipe.line_bytes, seed=recipe.seed)
    write_lines(folder / "run.jsonl", recipe)
    write_lines(folder / "few.jsonl", few)
    ours, theirs = [], []
    with null_upstream(folder) as upstream:
        for _ in range(repeats):
            ours.append(_ours(folder, folder / "run.jsonl", upstream.url))
            theirs.append(_gather(folder, folder / "few.jsonl", upstream.url))
    for name in ("run.jsonl", "few.jsonl", "out.jsonl"):
        (folder / name).unlink()
    return [
        row("run", "batchyard run-batch", recipe.lines, ours, "whole command, results durable within 50 ms"),
        row("run", "aiohttp gather script", few.lines, theirs, "whole command, nothing durable before the end"),
    ]


def _ours(folder: Path, source: Path, url: str) -> Cost:
    command = [*BATCHYARD, "run-batch", "-i", source, "-o", folder / "out.jsonl", "--upstream", url, "--fresh"]
    return _checked(command, folder)


def _gather(folder: Path, source: Path, url: str) -> Cost:
    return _checked([sys.executable, HERE / "peers" / "gather.py", source, folder / "out.jsonl", url], folder)


def _checked(command: list[str | Path], folder: Path) -> Cost:
    log = folder / "log.txt"
    cost = run(command, log=log)
    if cost.exit_code:
        raise RuntimeError(log.read_text())
    return cost


if __name__ == "__main__":
    from bench.asked import alone

    alone(compare, lines=200_000)
