"""Where a run writes: its folder, and the local files that its output and errors are written to first."""

import hashlib
import os
import secrets
from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard.config import RunOptions
from batchyard.disk import Disk
from batchyard.engines.managed import RECIPES
from batchyard.pipeline import manifest as manifests
from batchyard.pipeline.fetch import Progress, fetch
from batchyard.pipeline.manifest import InputFacts
from batchyard.pipeline.stop import Stop

COPY = "input.jsonl"
OUTPUT = "output.jsonl"
ERRORS = "errors.jsonl"
_INCOMING = "incoming-"
_OURS = ("run.json", "plan", COPY, OUTPUT, ERRORS, "lock", *(f"{program}.log" for program in RECIPES))
LOCK = ("lock",)
FINISHED = ("run.json",)
"""What stays of a finished run beside its output."""


class Places(Struct, frozen=True, kw_only=True):
    """`output` and `errors` are regular files; where they are not what was asked for, they are delivered from there."""

    folder: str
    output: str
    errors: str | None


def is_elsewhere(output: str) -> bool:
    """Whether an output is no regular file: standard output, a FIFO, a device or a URL."""
    if output == "-" or "://" in output:
        return True
    path = Path(output)
    return path.exists() and not path.is_file()


def is_stream(source: str) -> bool:
    """Whether an input can be read only once, so that nothing but its bytes tells what it is."""
    if "://" in source:
        return False
    return source == "-" or (Path(source).exists() and not Path(source).is_file())


def places_of(options: RunOptions, digest: str = "") -> Places:
    """The places of a run. `digest` tells apart runs of streams to streams, which have no name of their own."""
    folder = options.run_folder or _folder_of(options, digest)
    return Places(
        folder=folder,
        output=f"{folder}/{OUTPUT}" if is_elsewhere(options.output) else os.path.realpath(options.output),
        errors=_errors_of(options, folder),
    )


def _errors_of(options: RunOptions, folder: str) -> str | None:
    if options.errors is None:
        return None
    return f"{folder}/{ERRORS}" if is_elsewhere(options.errors) else os.path.realpath(options.errors)


def _folder_of(options: RunOptions, digest: str) -> str:
    """Beside the output where it is a file; else found again by what is run."""
    if not is_elsewhere(options.output):
        return os.path.realpath(options.output) + ".batchyard"
    words = "\0".join((options.input, options.output, options.model or "", *options.upstreams, digest))
    return f"{_root(options)}/{hashlib.blake2b(words.encode(), digest_size=8).hexdigest()}"


def _root(options: RunOptions) -> str:
    if options.staging_folder is not None:
        return f"{os.path.realpath(options.staging_folder)}/batchyard-runs"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return f"{state}/batchyard/runs"


def needs_reading_first(options: RunOptions) -> bool:
    """Whether the run's folder can be named only once the input was read: a stream, to something that is no file."""
    return options.run_folder is None and is_elsewhere(options.output) and is_stream(options.input)


def bring_input(options: RunOptions, folder: str, stop: Stop, on_progress: Progress) -> InputFacts:
    """Bring the input to a regular file, in `folder` where it is not one already. Blocks."""
    fetched = fetch(options.input, folder, name=COPY, should_stop=stop.asked.is_set, on_progress=on_progress)
    return InputFacts(fetched.path, fetched.bytes, fetched.identity)


def bring_stream(options: RunOptions, disk: Disk, stop: Stop, on_progress: Progress) -> tuple[InputFacts, Places]:
    """Read a stream to its end, then place it in the folder that its bytes name. Blocks."""
    root = Path(_root(options))
    incoming = root / f"{_INCOMING}{secrets.token_hex(6)}"
    try:
        facts = bring_input(options, str(incoming), stop, on_progress)
        facts = msgspec.structs.replace(facts, digest=manifests.digest_of(disk, facts.path))
        places = places_of(options, facts.digest)
        Path(places.folder).mkdir(parents=True, exist_ok=True)
        moved = Path(facts.path).rename(Path(places.folder) / COPY)
    finally:
        tidy(str(incoming))
    return msgspec.structs.replace(facts, path=str(moved)), places


def tidy(folder: str, *, keep: Collection[str] = ()) -> None:
    """Remove a run's own files and nothing else, then the folder where it is empty."""
    place = Path(folder)
    for path in (*_files(place / "journal"), *(p for p in _files(place) if p.name.startswith(_OURS))):
        if path.name not in keep:
            path.unlink(missing_ok=True)
    for path in (place / "journal", place):
        try:
            path.rmdir()
        except OSError:
            return


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
