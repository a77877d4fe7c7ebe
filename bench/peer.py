"""Batchyard beside `vllm run-batch`: the same file, the same model, and a kill -9 half way.

    python -m bench.peer [--lines 256 500] [--kill-lines 8000] [--repeats 3] [--only NAME ...] [--vllm PROGRAM]

Needs the environment that tests/peer/setup.sh makes. The runs of one size take turns (A B C D, A B C D), so that a
busy minute of the machine falls on all. Prints one table and writes it to bench/results/peer.md, with the figures of
every run and the recipe of the input in bench/results/peer.json. A run that answers wrongly is counted, not hidden.
"""

import argparse
import hashlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from bench import measure
from tests.support.demo_lines import Question, questions, right_answers, write_batch
from tests.support.hf_folder import make_hf_folder

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
SEED = 7
ENGINE_FLAGS = ("--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", "256")
OFFLINE = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where one run reads and writes."""

    folder: Path
    asked: Path

    @property
    def output(self) -> Path:
        return self.folder / "out.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A way to run a file: its command, and how many lines it says it has answered (None: not begun)."""

    name: str
    command: Callable[[Files], Sequence[str]]
    answered: Callable[[Files], int | None]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    resumes: bool = False


def vllm_run_batch(vllm: str, model: Path) -> Runner:
    def command(files: Files) -> Sequence[str]:
        where = ("-i", str(files.asked), "-o", str(files.output), "--model", str(model), "--served-model-name", "demo")
        return (vllm, "run-batch", *where, *ENGINE_FLAGS, "--enforce-eager")

    def answered(files: Files) -> int | None:
        """By its progress bar."""
        counts = re.findall(rb"Running batch.*?(\d+)/\d+ \[", files.log.read_bytes())
        return int(counts[-1]) if counts else None

    return Runner(name="vllm run-batch", command=command, answered=answered, environment=OFFLINE)


def batchyard(name: str, *words: str, **environment: str) -> Runner:
    def command(files: Files) -> Sequence[str]:
        where = ("-i", str(files.asked), "-o", str(files.output), "--run-dir", str(files.run_folder))
        report = ("--summary", str(files.summary), "--progress", "none")
        return (sys.executable, "-m", "batchyard", "run-batch", *where, *report, *words)

    def answered(files: Files) -> int | None:
        """By its journal, one line for each result."""
        journal = b"".join(_bytes(path) for path in files.run_folder.glob("**/journal/*.jsonl"))
        return journal.count(b"\n") or None

    return Runner(name=name, command=command, answered=answered, environment=environment, resumes=True)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a run that is complete clears up
        return b""


def runners(vllm: str, model: Path) -> list[Runner]:
    """All that are compared. Deduplication is off: vLLM has none, and the work shall be the same."""
    same = ("--model", "demo", "--no-dedupe")
    managed = ("--model", str(model), "--served-model-name", "demo", "--no-dedupe", *ENGINE_FLAGS)
    return [
        vllm_run_batch(vllm, model),
        batchyard("batchyard, llamacpp", "--engine", "llamacpp", *same),
        batchyard("batchyard, openvino", "--engine", "openvino", *same),
        batchyard("batchyard, managed vllm", "--engine", "vllm", *managed, **OFFLINE, BATCHYARD_VLLM=vllm),
    ]


# Whole runs


def whole_run(runner: Runner, asked: list[Question], folder: Path) -> dict[str, Any]:
    """Cost and right answers of one run in a fresh folder."""
    files = _files(folder, asked)
    cost = _run(runner, files, len(asked))
    right = right_answers(files.output, asked) if files.output.exists() else 0
    return {
        "runner": runner.name,
        "lines": len(asked),
        "right": right,
        **asdict(cost),
        **_log_where_failed(cost, files),
    }


def killed_run(runner: Runner, asked: list[Question], folder: Path) -> dict[str, Any]:
    """Kill it when it says that half of the lines are answered; what is left, and what a rerun then costs.

    What counts as kept is what the rerun does not ask again: vLLM begins anew and overwrites its output.
    """
    files = _files(folder, asked)
    killed = _run(runner, files, len(asked), kill_at=len(asked) // 2)
    lines_left = _line_count(files.output)
    rerun = _run(runner, files, len(asked))
    kept = _resumed(files) if runner.resumes else 0
    return {
        "runner": runner.name,
        "lines": len(asked),
        "killed_after_seconds": killed.wall_seconds,
        "killed_exit_code": killed.exit_code,
        "answered_when_killed": killed.answered,
        "output_lines_after_kill": lines_left,
        "results_kept": kept,
        "rerun_exit_code": rerun.exit_code,
        "rerun_wall_seconds": rerun.wall_seconds,
        "rerun_lines": _line_count(files.output),
        "rerun_right": right_answers(files.output, asked) if files.output.exists() else 0,
    }


def _files(folder: Path, asked: list[Question]) -> Files:
    folder.mkdir(parents=True)
    files = Files(folder=folder, asked=folder / "in.jsonl")
    write_batch(files.asked, asked)
    return files


def _run(runner: Runner, files: Files, lines: int, *, kill_at: int | None = None) -> measure.Cost:
    return measure.run(
        runner.command(files),
        files.log,
        environment=runner.environment,
        answered=lambda: runner.answered(files),
        lines=lines,
        kill_at=kill_at,
    )


def _log_where_failed(cost: measure.Cost, files: Files) -> dict[str, str]:
    return {} if cost.exit_code == 0 else {"log": files.log.read_text(errors="replace")[-2000:]}


def _line_count(path: Path) -> int:
    return sum(1 for _ in path.open()) if path.exists() else 0


def _resumed(files: Files) -> int:
    return json.loads(files.summary.read_text())["lines"]["resumed"] if files.summary.exists() else 0


# The report


def summary_rows(whole: list[dict[str, Any]]) -> list[list[str]]:
    """One row per runner and size: the median of the repeats, wall time also from the best to the worst."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for each in whole:
        groups.setdefault((each["lines"], each["runner"]), []).append(each)
    return [[str(lines), name, *_middle(group)] for (lines, name), group in sorted(groups.items())]


def _middle(group: list[dict[str, Any]]) -> list[str]:
    walls = [each["wall_seconds"] for each in group]
    answering = [each["answering_seconds"] for each in group if each["answering_seconds"] is not None]
    return [
        f"{statistics.median(walls):.1f} ({min(walls):.1f}-{max(walls):.1f})",
        f"{statistics.median(answering):.1f}" if answering else "-",
        f"{statistics.median(each['cpu_seconds'] for each in group):.1f}",
        f"{statistics.median(each['peak_rss_mb'] for each in group):,.0f}",
        f"{min(each['right'] for each in group)}/{group[0]['lines']}",
        "/".join(sorted({str(each["exit_code"]) for each in group})),
    ]


def kill_rows(killed: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            *(str(each["lines"]), each["runner"]),
            *(f"{each['usual_wall_seconds']:.1f}", f"{each['killed_after_seconds']:.1f}"),
            str(each["answered_when_killed"]),
            *(str(each["output_lines_after_kill"]), str(each["results_kept"])),
            *(f"{each['rerun_wall_seconds']:.1f}", f"{each['rerun_right']}/{each['lines']}"),
        ]
        for each in killed
    ]


WHOLE_HEAD = ["lines", "runner", "wall s (min-max)", "answering s", "CPU s", "peak RSS MB", "right", "exit"]
KILL_HEAD = ["lines", "runner", "whole s", "killed at s", "answered", "in output", "kept", "rerun s", "right after"]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with even columns."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(_table_line(line, widths) for line in lines)


def _table_line(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def report(facts: dict[str, Any], whole: list[dict[str, Any]], killed: list[dict[str, Any]]) -> str:
    host = facts["machine"]
    return "\n".join(
        [
            "# Batchyard beside vllm run-batch",
            "",
            f"{host['processor']}, {host['cores']} cores, {host['memory_gb']} GB, {host['system']}. "
            f"{facts['vllm']}, Python {host['python']}. Written by `python -m bench.peer`.",
            "",
            f"Input: {facts['recipe']} Model: {facts['model']}. Repeats: {facts['repeats']}, taking turns.",
            "",
            table(WHOLE_HEAD, summary_rows(whole)),
            "",
            "Answering is from the first answer to the last, as vLLM's progress bar (every 5 s) and Batchyard's "
            "journal show it; the rest is start and end. Memory is of the whole process tree, shared pages and all.",
            "",
            "After `kill -9` when half of the lines were seen answered, and the same command again. Kept is what the "
            "rerun does not ask again: vLLM writes its output at the end and begins anew.",
            "",
            table(KILL_HEAD, kill_rows(killed)),
            "",
        ]
    )


def facts_of(options: argparse.Namespace, model: Path, demo: Path) -> dict[str, Any]:
    version = subprocess.run([options.vllm, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    return {
        "machine": measure.machine(),
        "vllm": f"vllm-cpu {version}",
        "recipe": f"tests/support/demo_lines.py, questions(count, seed={SEED}): sums, capitals and JSON extractions, "
        "max_tokens 32, temperature 0.",
        "model": f"{demo.name} (sha256 {hashlib.sha256(demo.read_bytes()).hexdigest()[:16]}), for vLLM the same "
        "weights as float32",
        "engine_flags": ENGINE_FLAGS,
        "repeats": options.repeats,
    }


def main() -> None:
    options = _options()
    with as_file(files("batchyard.demo")) as demo, tempfile.TemporaryDirectory() as scratch:
        weights = next(demo.glob("*.gguf"))
        model = make_hf_folder(weights, next(demo.glob("*tokenizer.json")), Path(scratch) / "hf")
        facts = facts_of(options, model, weights)
        chosen = [each for each in runners(options.vllm, model) if not options.only or each.name in options.only]
        whole = _whole_runs(chosen, options, Path(scratch))
        killed = _killed_runs(chosen, options, Path(scratch))
    text = report(facts, whole, killed)
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "peer.md").write_text(text)
    (RESULTS / "peer.json").write_text(json.dumps({**facts, "whole": whole, "killed": killed}, indent=1) + "\n")


def _whole_runs(chosen: list[Runner], options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    for lines in options.lines:
        asked = questions(lines, SEED)
        for repeat in range(options.repeats):
            for runner in chosen:
                runs.append(whole_run(runner, asked, scratch / f"{lines}-{repeat}-{runner.name}"))
                _tell(runs[-1])
    return runs


def _killed_runs(chosen: list[Runner], options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Each runner once whole, then once killed, on the same lines."""
    asked = questions(options.kill_lines, SEED)
    runs: list[dict[str, Any]] = []
    for runner in chosen if options.kill_lines else []:
        usual = whole_run(runner, asked, scratch / f"usual-{runner.name}")
        killed = killed_run(runner, asked, scratch / f"killed-{runner.name}")
        runs.append({**killed, "usual_wall_seconds": usual["wall_seconds"]})
        _tell(runs[-1])
    return runs


def _tell(run: dict[str, Any]) -> None:
    shown = {name: round(value, 2) if isinstance(value, float) else value for name, value in run.items()}
    print(json.dumps(shown), file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[256, 500])
    parser.add_argument(
        "--kill-lines", type=int, default=8000, help="0 leaves the kill out; vLLM shows its progress every 5 s"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names of runners")
    parser.add_argument("--vllm", default=str(ROOT / ".venv-peer" / "bin" / "vllm"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
