"""What embeddings cost that are asked together, beside one call for each: `batchyard run-batch`, the whole command.

    python -m bench.embeddings [--lines 100000] [--line-bytes 400] [--repeats 3] [--model FILE] [--upstream URL]

Against a null upstream, which answers a text with 384 numbers. It does nothing for a call, so what is compared is our
own cost. Servers work for each call: with `--upstream` a tenth of the lines go to one that answers to the model "null",
with `--model` to a GGUF embedding model in the package's own llama.cpp. Both ways take turns.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.command import BATCHYARD, Cost, NullUpstream, run
from bench.make_lines import WORDS
from bench.table import Row, row, text

SIZES = (1, 64)
_LINE = '{"custom_id":"request-%08d","method":"POST","url":"/v1/embeddings","body":{"model":"null","input":"%s %d"}}\n'


def compare(
    folder: Path, lines: int, line_bytes: int, repeats: int, engines: Mapping[str, Sequence[str]] = {}
) -> list[Row]:
    """Rows of both ways for each engine: the null upstream, and others by name, with the flags that choose them."""
    source = folder / "texts.jsonl"
    rows: list[Row] = []
    _write(source, lines, line_bytes)
    costs: dict[int, list[Cost]] = {size: [] for size in SIZES}
    calls: dict[int, int] = {}
    for _ in range(repeats):
        for size in SIZES:
            upstream = NullUpstream(folder)
            try:
                costs[size].append(_embed(folder, source, ["--upstream", upstream.url], size))
            finally:
                calls[size] = upstream.stop()
    rows += _rows("null upstream", lines, costs, calls)
    few = max(1, lines // 10)
    _write(source, few, line_bytes)
    for engine, flags in engines.items():
        costs = {size: [] for size in SIZES}
        for _ in range(repeats):
            for size in SIZES:
                costs[size].append(_embed(folder, source, flags, size))
        rows += _rows(engine, few, costs, {})
    return rows


def _rows(engine: str, lines: int, costs: Mapping[int, Sequence[Cost]], calls: Mapping[int, int]) -> list[Row]:
    tools = {size: "each by itself" if size == 1 else f"{size} in a call" for size in SIZES}
    notes = {size: f"{calls[size]:,} calls" if size in calls else "" for size in SIZES}
    return [row(f"embeddings, {engine}", tools[size], lines, costs[size], notes[size]) for size in SIZES]


def _embed(folder: Path, source: Path, engine: Sequence[str], size: int) -> Cost:
    out, log = folder / "out.jsonl", folder / "log.txt"
    words = [
        "run-batch",
        "-i",
        source,
        "-o",
        out,
        *engine,
        "--fresh",
        "--no-dedupe",
        "--embeddings-per-call",
        str(size),
    ]
    cost = run([*BATCHYARD, *words], log=log)
    if cost.exit_code:
        raise RuntimeError(log.read_text())
    out.unlink()
    return cost


def _write(path: Path, lines: int, line_bytes: int) -> None:
    room = max(0, line_bytes - len(_LINE))
    words = (WORDS + " ") * (room // len(WORDS) + 1)
    with path.open("w") as file:
        file.writelines(_LINE % (number, words[number % 97 : number % 97 + room], number) for number in range(lines))


def _told(rows: Sequence[Row]) -> str:
    """How many times as much the first of two ways takes as the second."""
    said: list[str] = []
    for one, together in zip(rows[::2], rows[1::2], strict=True):
        cpu, wall = one.cpu_us_per_line / together.cpu_us_per_line, one.wall_seconds / together.wall_seconds
        said.append(f"{one.work}: {cpu:.2f} times the processor time, {wall:.2f} times the time. {together.notes}")
    return "\n".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--line-bytes", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way, taking turns")
    parser.add_argument("--model", help="a GGUF embedding model to run, too")
    parser.add_argument("--upstream", help="a server to ask, too")
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    asked = parser.parse_args()
    engines: dict[str, Sequence[str]] = {}
    if asked.model is not None:
        engines["llama.cpp"] = ("--model", asked.model, "--served-model-name", "null")
    if asked.upstream is not None:
        engines["a server"] = ("--upstream", asked.upstream)
    print(f"load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="bench-") as folder:
        rows = compare(Path(folder), asked.lines, asked.line_bytes, asked.repeats, engines)
    print(text(rows), _told(rows), f"load after: {os.getloadavg()[0]:.1f}", sep="\n")


if __name__ == "__main__":
    main()
