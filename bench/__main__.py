"""What Batchyard costs beside what people would use instead: `make bench`.

    python -m bench [--full] [--repeats 3] [--folder DIR] [--results DIR]

Prints one table and writes it as `latest.md` and, with all runs and the inputs' recipes, as `latest.json`. Tools take
turns, so that a busy machine is busy for all of them; of several runs the one with the least processor time counts.
`--full` takes the sizes of the goals: ten gigabytes, and half an hour.
"""

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from bench import dispatch, journal, run, validate
from bench.asked import Compare
from bench.command import HERE
from bench.make_lines import Recipe
from bench.measure import machine
from bench.table import Row, markdown, text

QUICK: tuple[tuple[str, Compare, int], ...] = (
    ("validate", validate.compare, 300_000),
    ("journal", journal.compare, 100_000),
    ("dispatch", dispatch.compare, 50_000),
    ("run", run.compare, 100_000),
)
FULL: tuple[tuple[str, Compare, int], ...] = (
    ("validate", validate.compare, 5_000_000),
    ("journal", journal.compare, 1_000_000),
    ("dispatch", dispatch.compare, 1_000_000),
    ("run", run.compare, 1_000_000),
)
PACKAGES = ("msgspec", "xxhash", "uvloop", "httptools", "aiohttp")


def main() -> None:
    asked = _asked()
    rows: list[Row] = []
    recipes: dict[str, dict[str, Any]] = {}
    facts = {**machine(), "system": platform.system(), **{name: version(name) for name in PACKAGES}}
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="bench-") as folder:
        for name, compare, lines in FULL if asked.full else QUICK:
            print(f"{name} ...", file=sys.stderr, flush=True)
            recipe = Recipe(lines=lines)
            recipes[name] = msgspec.to_builtins(recipe)
            rows += compare(Path(folder), recipe, asked.repeats)
    print(text(rows))
    _write(Path(asked.results), rows, facts, recipes)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of the goals")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each tool, taking turns")
    parser.add_argument("--folder", help="where the files go (default: the temporary folder)")
    parser.add_argument("--results", default=str(HERE / "results"), help="where the tables go")
    return parser.parse_args()


def _write(results: Path, rows: Iterable[Row], facts: dict[str, Any], recipes: dict[str, Any]) -> None:
    results.mkdir(parents=True, exist_ok=True)
    document = {"command": _command(), "machine": facts, "recipes": recipes, "rows": rows}
    (results / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    (results / "latest.md").write_text(_page(rows, facts, recipes), encoding="utf-8")


def _page(rows: Iterable[Row], facts: dict[str, Any], recipes: dict[str, Any]) -> str:
    inputs = [f"- {name}: `{_recipe(recipe)}`" for name, recipe in recipes.items()]
    return "\n".join(
        [
            "# What it costs",
            "",
            f"Written by `{_command()}`. Processor time is user and system, of all threads; of several runs in turns "
            "the one with the least counts. Wall time depends on what else the machine did.",
            "",
            markdown(rows),
            "",
            "Machine: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()) + ".",
            "",
            "Inputs, made by `python -m bench.make_lines`:",
            "",
            *inputs,
            "",
        ]
    )


def _recipe(recipe: dict[str, Any]) -> str:
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in recipe.items())


def _command() -> str:
    return " ".join(["python -m bench", *(word for word in sys.argv[1:] if word.startswith("--full"))])


if __name__ == "__main__":
    main()
