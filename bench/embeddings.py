"""What embeddings cost that are asked together, beside one call for each: `batchyard run-batch`, the whole command.

    python -m bench.embeddings [--lines 100000] [--line-bytes 400] [--repeats 3] [--model FILE] [--folder DIR]

Against a null upstream, which answers a text with 384 numbers; with `--model` also with a GGUF embedding model in the
package's own llama.cpp, a tenth of the lines, where the work is the model's. Both ways take turns. The null upstream
does nothing for a call, so the ratio is that of our own costs: a server that works for each call gains more.
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


def compare(folder: Path, lines: int, line_bytes: int, repeats: int, model: str | None = None) -> list[Row]:
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
    if model is not None:
        few = max(1, lines // 10)
        _write(source, few, line_bytes)
        costs = {size: [] for size in SIZES}
        for _ in range(repeats):
            for size in SIZES:
                costs[size].append(_embed(folder, source, ["--model", model, "--served-model-name", "null"], size))
        rows += _rows("llama.cpp", few, costs, {})
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
        said.append(f"{one.work}: {cpu:.2f} times the processor time, {wall:.2f} times the time; {together.notes}")
    return "\n".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--line-bytes", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way, taking turns")
    parser.add_argument("--model", help="a GGUF embedding model to run, too")
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    asked = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="bench-") as folder:
        rows = compare(Path(folder), asked.lines, asked.line_bytes, asked.repeats, asked.model)
    print(text(rows), _told(rows), f"load after: {os.getloadavg()[0]:.1f}", sep="\n")


if __name__ == "__main__":
    main()
