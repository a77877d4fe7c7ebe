"""`batchyard validate`: the checks of a run, without the run."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batchyard.cli import flags
from batchyard.config import Compat, RunOptions

if TYPE_CHECKING:
    from batchyard.cli.progress import Drawing
    from batchyard.cli.summary import Prices
    from batchyard.domain.line import LineError
    from batchyard.pipeline.validate import Verdict

LOOK_SECONDS = 0.2


def validate(
    file: Annotated[str, typer.Argument(help="A path, - or an http(s) URL; gzip and zstd too.")],
    as_json: flags.AsJson = False,
    model: flags.Model = None,
    served_model_name: flags.ServedModelName = None,
    compat: flags.CompatWith = Compat.OPENAI,
    dedupe: flags.Dedupe = True,
    output_tmp_dir: flags.OutputTmpDir = None,
    progress: flags.ShowProgress = flags.Progress.AUTO,
    price_in: flags.PriceIn = None,
    price_out: flags.PriceOut = None,
) -> None:
    """Check every line of a file as run-batch would, and name each one that cannot run.

    Says how many lines each model and endpoint gets, how many repeat another one, how much of their prompts is shared,
    and estimates tokens and cost. Nothing runs.

    Exit codes: 0 all lines can run, 1 some cannot or the file cannot be read, 2 the command line is wrong.
    """
    from batchyard.cli.summary import Prices
    from batchyard.domain.errors import BatchyardError

    options = RunOptions(
        input=file,
        output="-",
        model=model,
        served_names=tuple(served_model_name or ()),
        compat=compat,
        dedupe=dedupe,
        staging_folder=output_tmp_dir,
    )
    try:
        raise typer.Exit(_check(options, progress, Prices(price_in, price_out), as_json=as_json))
    except BatchyardError as error:
        typer.echo(f"batchyard: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _check(options: RunOptions, progress: flags.Progress, prices: "Prices", *, as_json: bool) -> int:
    """Fetch, check, print. The plan is only a by-product here and goes with its folder."""
    import tempfile

    from batchyard import wiring
    from batchyard.cli.progress import open_drawing
    from batchyard.pipeline.fetch import fetch
    from batchyard.pipeline.validate import validate as check

    disk, dialect = wiring.local_disk(), wiring.line_dialect(options)
    with tempfile.TemporaryDirectory(prefix="batchyard-", dir=options.staging_folder) as folder:
        plan = str(Path(folder) / "plan")
        watching = _Watching(open_drawing(progress, sys.stderr))
        try:
            fetched = fetch(options.input, folder, on_progress=watching.fetched)
            watching.checking(fetched.bytes)
            verdict = check(
                disk,
                fetched.path,
                plan,
                dialect,
                dedupe=options.dedupe,
                max_line_bytes=options.max_line_bytes,
                on_progress=watching.checked,
            )
        finally:
            watching.close()
        errors = _all_errors(options, fetched.path, plan, verdict)
        _print_json(options, verdict, errors, prices) if as_json else _print_text(options, verdict, errors, prices)
    return 0 if verdict.error_count == 0 else 1


def _all_errors(options: RunOptions, path: str, plan: str, verdict: "Verdict") -> "Iterable[LineError]":
    """The verdict keeps the first ones; where there are more, the plan knows which lines to look at again."""
    if verdict.error_count == len(verdict.errors):
        return verdict.errors
    from batchyard import wiring
    from batchyard.pipeline.plan import Plan
    from batchyard.pipeline.validate import line_errors

    disk = wiring.local_disk()
    return line_errors(disk, path, Plan.open(disk, plan), wiring.line_dialect(options))


class _Watching:
    """Progress of blocking steps, drawn as they report."""

    def __init__(self, drawing: "Drawing") -> None:
        from batchyard.cli.meter import Meter
        from batchyard.pipeline.tally import Tally

        self._drawing = drawing
        self._meter = Meter()
        self._tally = Tally(stage="fetching")
        self._next = 0.0

    def fetched(self, done: int, total: int | None) -> None:
        self._show(done, total or 0, 0)

    def checking(self, total: int) -> None:
        self._tally.stage = "reading"
        self._tally.bytes_total = total

    def checked(self, done: int, lines: int) -> None:
        self._show(done, self._tally.bytes_total, lines)

    def close(self) -> None:
        self._drawing.close()

    def _show(self, done: int, total: int, lines: int) -> None:
        import time

        now = time.perf_counter()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        self._tally.bytes_read, self._tally.bytes_total, self._tally.lines = done, total, lines
        self._drawing.show(self._meter.look(self._tally, now), now)


def figures(options: RunOptions, verdict: "Verdict", prices: "Prices") -> dict[str, object]:
    """What the JSON document holds beside `errors`; tokens and cost are estimates, output tokens the most allowed."""
    return {
        "file": options.input,
        "valid": verdict.error_count == 0,
        "bytes": verdict.bytes,
        "digest": verdict.digest,
        "lines": verdict.lines,
        "invalid": verdict.error_count,
        "duplicates": verdict.followers,
        "by_model": verdict.by_model,
        "by_endpoint": verdict.by_endpoint,
        "input_tokens": verdict.input_tokens,
        "shared_prefix_tokens": verdict.shared_prefix_tokens,
        "output_tokens": verdict.output_tokens,
        "cost": prices.cost(verdict.input_tokens, verdict.output_tokens),
    }


def _print_json(options: RunOptions, verdict: "Verdict", errors: "Iterable[LineError]", prices: "Prices") -> None:
    """One document, its errors written one by one: there may be millions."""
    for piece in json_document(options, verdict, errors, prices):
        sys.stdout.write(piece)
    sys.stdout.flush()


def json_document(
    options: RunOptions, verdict: "Verdict", errors: "Iterable[LineError]", prices: "Prices"
) -> Iterator[str]:
    """The document in pieces: the figures, then `errors` with number, code, message, remedy, param and custom_id."""
    import msgspec

    head = msgspec.json.encode(figures(options, verdict, prices)).decode()
    yield head[:-1] + ',"errors":['
    comma = "\n"
    for error in errors:
        yield comma + msgspec.json.encode(error).decode()
        comma = ",\n"
    yield "]}\n"


def _print_text(options: RunOptions, verdict: "Verdict", errors: "Iterable[LineError]", prices: "Prices") -> None:
    from batchyard.cli.running import line_text

    for error in errors:
        sys.stdout.write(line_text(error) + "\n")
    for name, text in table_rows(options, verdict, prices):
        sys.stdout.write(f"{name:<14}{text}\n")
    sys.stdout.flush()


def table_rows(options: RunOptions, verdict: "Verdict", prices: "Prices") -> list[tuple[str, str]]:
    """The figures for people."""
    from batchyard.cli.summary import shown
    from batchyard.cli.wording import amount, data

    cost = prices.cost(verdict.input_tokens, verdict.output_tokens)
    shared = 100 * verdict.shared_prefix_tokens / verdict.input_tokens if verdict.input_tokens else 0.0
    rows = [
        ("file", f"{shown(options.input)}, {data(verdict.bytes)}"),
        (
            "lines",
            f"{verdict.lines:,}, "
            + (f"{verdict.error_count:,} of them invalid" * bool(verdict.error_count) or "all valid"),
        ),
        ("models", _counts(verdict.by_model)),
        ("endpoints", _counts(verdict.by_endpoint)),
        ("duplicates", f"{verdict.followers:,} lines ask what another one asks" if verdict.followers else ""),
        ("shared prefix", f"{shared:.0f} % of the input tokens" if shared else ""),
        ("tokens", f"about {amount(verdict.input_tokens)} in, at most about {amount(verdict.output_tokens)} out"),
        ("cost", "" if cost is None else f"at most about {cost:,.4f}"),
    ]
    return [(name, text) for name, text in rows if text]


def _counts(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{name} {count:,}" for name, count in most[:10])
    return shown + (f" and {len(most) - 10} more" if len(most) > 10 else "")
