"""What a crash costs: kill -9 half way, the same command again, and the time until its first request is sent.

    python -m bench.resume [--lines 1000000] [--line-bytes 2000] [--folder DIR]
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

from msgspec import Struct

from bench.command import BATCHYARD, Cost, NullUpstream, run
from bench.make_lines import Recipe, write_lines
from bench.scale import stages

RECORD_BYTES = 40
"""Of a result in the journal's index: see docs on the format."""


class Resumed(Struct, frozen=True, kw_only=True):
    """A run that was killed, and its second start.

    `asked_twice` counts requests beyond one for each line. `first_request_seconds` is from the start of the process.
    """

    lines: int
    kept: int
    asked_twice: int
    first_request_seconds: float
    killed: Cost
    resumed: Cost
    in_order: bool

    @property
    def checked_again(self) -> bool:
        """Whether the second start read the input file through once more."""
        return "read" in self.resumed.stage_begins


def kill_and_resume(folder: Path, recipe: Recipe) -> Resumed:
    source, output, log = folder / "in.jsonl", folder / "out.jsonl", folder / "log.txt"
    index = Path(f"{output}.batchyard") / "journal" / "000001.idx"
    write_lines(source, recipe)

    first = NullUpstream(folder)
    killed = run(_command(source, output, first.url), log=log, kill=(index, recipe.lines // 2 * RECORD_BYTES))
    asked = first.stop()
    assert killed.exit_code == -9, log.read_text()
    kept = index.stat().st_size // RECORD_BYTES

    second, first_request = NullUpstream(folder), []
    waiting = threading.Thread(target=lambda: first_request.append(second.first_request()))
    waiting.start()
    began = time.perf_counter()
    resumed = run(_command(source, output, second.url), log=log, stages=stages(output))
    waiting.join(10)
    asked += second.stop()
    assert resumed.exit_code == 0, log.read_text()
    ended = Resumed(
        lines=recipe.lines,
        kept=kept,
        asked_twice=asked - recipe.lines,
        first_request_seconds=first_request[0] - began,
        killed=killed,
        resumed=resumed,
        in_order=_in_order(output, recipe.lines),
    )
    source.unlink()
    output.unlink()
    return ended


def _command(source: Path, output: Path, url: str) -> list[str | Path]:
    return [*BATCHYARD, "run-batch", "-i", source, "-o", output, "--upstream", url, "--progress", "plain"]


def _in_order(output: Path, lines: int) -> bool:
    """Whether each line has its result once, in the order of the input."""
    place = -1
    with output.open("rb") as file:
        for place, line in enumerate(file):
            if b'"custom_id": "request-%08d"' % place not in line[:120]:
                return False
    return place == lines - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--line-bytes", type=int, default=2000)
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="resume-") as folder:
        ended = kill_and_resume(Path(folder), Recipe(lines=asked.lines, line_bytes=asked.line_bytes))
    print(f"killed with about {ended.kept:,} of {ended.lines:,} results kept")
    print(f"first request {ended.first_request_seconds:.2f} s after the second start")
    print(f"input read again: {'yes' if ended.checked_again else 'no'}; requests asked twice: {ended.asked_twice}")
    print(f"every line once and in order: {'yes' if ended.in_order else 'NO'}")
    print(f"second start: {ended.resumed.cpu_seconds:.1f} s CPU, peak {ended.resumed.peak_bytes / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
