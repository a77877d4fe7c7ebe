"""What the benches have in common on their command lines."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.make_lines import Recipe
from bench.table import Row, text

Compare = Callable[[Path, Recipe, int], list[Row]]


def alone(compare: Compare, *, lines: int) -> None:
    """Run one bench as a command of its own."""
    module = sys.modules["__main__"]
    parser = argparse.ArgumentParser(description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=lines)
    parser.add_argument("--line-bytes", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each tool, taking turns")
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="bench-") as folder:
        print(text(compare(Path(folder), Recipe(lines=asked.lines, line_bytes=asked.line_bytes), asked.repeats)))
