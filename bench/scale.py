"""Does memory stay flat? The whole command against a null upstream, with files of 10 thousand to 5 million lines.

    python -m bench.scale [--lines 10000 1000000] [--line-bytes 2000] [--repeats 0] [--bad 0] [--folder DIR] -- FLAG...

One row for each size: peak of resident memory at the end of each stage beside what is allowed (64 MB and 24 bytes a
line), the lines that came out, and processor time per line. Exits with 1 where a peak is above it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from msgspec import Struct

from bench.command import BATCHYARD, Cost, null_upstream, run
from bench.make_lines import Recipe, write_lines

MB = 1_000_000
ALLOWED_BYTES = 64 * MB
ALLOWED_BYTES_PER_LINE = 24


class Scaled(Struct, frozen=True, kw_only=True):
    """One run of `run-batch`."""

    recipe: Recipe
    input_bytes: int
    output_lines: int
    output_bytes: int
    cost: Cost

    @property
    def allowed_bytes(self) -> int:
        return ALLOWED_BYTES + ALLOWED_BYTES_PER_LINE * self.recipe.lines

    @property
    def is_flat(self) -> bool:
        return self.cost.peak_bytes <= self.allowed_bytes


def run_batch(folder: Path, recipe: Recipe, *flags: str) -> Scaled:
    """Make a file, run it against a null upstream, and look at what came out. Its files are removed."""
    source, output, log = folder / "in.jsonl", folder / "out.jsonl", folder / "log.txt"
    size = write_lines(source, recipe)
    words = ("--progress", "plain", "--on-invalid-line", "error-line", *flags)
    with null_upstream(folder) as upstream:
        command = (*BATCHYARD, "run-batch", "-i", source, "-o", output, "--upstream", upstream.url, *words)
        cost = run(command, log=log, stages=stages(output))
    if cost.exit_code not in (0, 3):
        raise RuntimeError(log.read_text())
    scaled = Scaled(
        recipe=recipe,
        input_bytes=size,
        output_lines=lines_of(output),
        output_bytes=output.stat().st_size,
        cost=cost,
    )
    source.unlink()
    output.unlink()
    return scaled


def stages(output: Path) -> dict[str, Path]:
    """The stages of a run, each with the file that appears when it begins."""
    run_folder = Path(f"{output}.batchyard")
    return {
        "start": run_folder,
        "read": run_folder / "plan.new",
        "answer": run_folder / "journal",
        "write": Path(f"{output}.partial"),
    }


def lines_of(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


HEADER = (
    f"{'lines':>9}{'input MB':>10}{'start':>7}{'read':>7}{'answer':>8}{'write':>7}"
    f"{'peak MB':>9}{'allowed':>9}{'us/line':>9}{'wall s':>8}"
)


def row(scaled: Scaled) -> str:
    cost, peaks = scaled.cost, scaled.cost.stage_peaks
    lines = scaled.recipe.lines
    return (
        f"{lines:>9}{scaled.input_bytes / MB:>10.0f}{peaks['start'] / MB:>7.1f}{peaks['read'] / MB:>7.1f}"
        f"{peaks['answer'] / MB:>8.1f}{peaks['write'] / MB:>7.1f}{cost.peak_bytes / MB:>9.1f}"
        f"{scaled.allowed_bytes / MB:>9.1f}{cost.cpu_seconds / lines * 1e6:>9.1f}{cost.wall_seconds:>8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--line-bytes", type=int, default=2000)
    parser.add_argument("--repeats", type=float, default=0.0)
    parser.add_argument("--bad", type=float, default=0.0)
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    parser.add_argument("flags", nargs="*", help="further flags for run-batch, after --")
    asked = parser.parse_args()
    print(HEADER)
    flat = True
    for lines in asked.lines:
        recipe = Recipe(lines=lines, line_bytes=asked.line_bytes, repeats=asked.repeats, bad=asked.bad)
        with tempfile.TemporaryDirectory(dir=asked.folder, prefix="scale-") as folder:
            scaled = run_batch(Path(folder), recipe, *asked.flags)
        assert scaled.output_lines == lines, scaled
        print(row(scaled), flush=True)
        flat &= scaled.is_flat
    sys.exit(not flat)


if __name__ == "__main__":
    main()
