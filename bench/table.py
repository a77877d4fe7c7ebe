"""What measurements say: rows of one table, for the terminal, for people and for programs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from bench.command import Cost


class Row(Struct, frozen=True, kw_only=True):
    """One tool at one piece of work: the run with the least processor time of several.

    Processor time is user and system, of all threads. `peak_mb` is resident memory of the process, in 10^6 bytes.
    """

    work: str
    tool: str
    lines: int
    cpu_us_per_line: float
    wall_seconds: float
    peak_mb: float
    runs_cpu_us_per_line: tuple[float, ...]
    notes: str = ""

    @property
    def lines_per_cpu_second(self) -> int:
        return round(1e6 / self.cpu_us_per_line)


def row(work: str, tool: str, lines: int, costs: Sequence[Cost], notes: str = "") -> Row:
    """The row of several runs of a whole command."""
    best = min(costs, key=lambda cost: cost.cpu_seconds)
    return Row(
        work=work,
        tool=tool,
        lines=lines,
        cpu_us_per_line=best.cpu_seconds / lines * 1e6,
        wall_seconds=best.wall_seconds,
        peak_mb=best.peak_bytes / 1e6,
        runs_cpu_us_per_line=tuple(round(cost.cpu_seconds / lines * 1e6, 2) for cost in costs),
        notes=notes,
    )


COLUMNS: tuple[tuple[str, int, Callable[[Row], Any]], ...] = (
    ("work", -30, lambda row: row.work),
    ("tool", -22, lambda row: row.tool),
    ("lines", 10, lambda row: f"{row.lines:,}"),
    ("us CPU/line", 12, lambda row: f"{row.cpu_us_per_line:.1f}"),
    ("lines/CPU-s", 12, lambda row: f"{row.lines_per_cpu_second:,}"),
    ("wall s", 8, lambda row: f"{row.wall_seconds:.1f}"),
    ("peak MB", 8, lambda row: f"{row.peak_mb:.0f}"),
)


def text(rows: Iterable[Row]) -> str:
    """For the terminal."""
    table = [[name for name, _, _ in COLUMNS], *([cell(row) for _, _, cell in COLUMNS] for row in rows)]
    return "\n".join("".join(_padded(cell, width) for cell, (_, width, _) in zip(line, COLUMNS)) for line in table)


def markdown(rows: Iterable[Row]) -> str:
    head = [f"| {' | '.join(name for name, _, _ in COLUMNS)} | |", "|" + "---|" * (len(COLUMNS) + 1)]
    body = [f"| {' | '.join(str(cell(row)) for _, _, cell in COLUMNS)} | {row.notes} |" for row in rows]
    return "\n".join(head + body)


def _padded(cell: str, width: int) -> str:
    return f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
