"""The station finalize: the journal becomes the output file, and the errors file where one is asked for.

A file is written under a temporary name, synced, then renamed: whoever sees it sees all of it, and a crash on the way
costs only the writing. The output appears last.
"""

import posixpath
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from operator import add
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from batchyard.config import Order
from batchyard.dialect import LineDialect
from batchyard.disk import Disk
from batchyard.domain.errors import Unavailable
from batchyard.domain.result import Answer, Outcome, Reply, Result, Usage
from batchyard.journal import Journal

_BUFFER_BYTES: Final = 1 << 20


class Entry(Protocol):
    """What matters here of a plan's entry: whose answer the line takes, -1 for its own; what keeps it from running."""

    @property
    def leader(self) -> int: ...
    @property
    def flags(self) -> int: ...


E = TypeVar("E", bound=Entry)
E_co = TypeVar("E_co", bound=Entry, covariant=True)
E_contra = TypeVar("E_contra", bound=Entry, contravariant=True)


class Plan(Protocol[E_co]):
    """What is needed of a plan."""

    @property
    def lines(self) -> int: ...
    @property
    def followers(self) -> int: ...
    def entry(self, place: int) -> E_co: ...
    def entries(self) -> Iterator[tuple[int, E_co]]: ...


class Reader(Protocol[E_contra]):
    """Reads the input's own lines."""

    def line(self, entry: E_contra) -> bytes: ...


class Used(Struct, frozen=True):
    """What lines have used of one model: how many were asked of it, and the tokens of those that succeeded."""

    requests: int = 0
    usage: Usage = Usage()

    def and_(self, other: "Used") -> "Used":
        """Both together."""
        mine, theirs = msgspec.structs.astuple(self.usage), msgspec.structs.astuple(other.usage)
        return Used(self.requests + other.requests, Usage(*map(add, mine, theirs)))


class Written(Struct, frozen=True, kw_only=True):
    """What the files hold: `errored` counts every line that did not succeed, wherever it stands.

    `cancelled` and `expired` are those of them that never ran. `usage` sums what the lines that succeeded say, so a
    line that took another's answer counts its tokens once more. `by_model` says the same of each name of a model that
    lines ask for, where that was wanted.
    """

    lines: int
    succeeded: int
    errored: int
    cancelled: int
    expired: int
    usage: Usage
    output_bytes: int
    error_bytes: int
    by_model: dict[str, Used] = {}


def finalize(
    disk: Disk,
    plan: Plan[E],
    reader: Reader[E],
    journal: Journal,
    dialect: LineDialect,
    *,
    output: str,
    errors: str | None,
    order: Order,
    on_progress: Callable[[int], None],
    durable: bool = True,
    by_model: bool = False,
) -> Written:
    """Write every line of the plan once. Every line needs a durable result, or a leader that has one. Blocks.

    With `errors`, lines that did not succeed stand there and not in `output`. `on_progress` hears now and then how many
    lines are written, and may raise to stop; then no file changes. Without `durable` the files are whole but not safe:
    for a caller who makes them so. `by_model` counts what each model was used for, which reads every line again. Raises
    Unavailable where the disk fails.
    """
    models = _Models(plan, reader, dialect) if by_model else None
    in_order = _in_input_order if order is Order.INPUT else _in_completion_order
    results = in_order(plan, reader, journal, dialect)
    try:
        with ExitStack() as files:
            bad = files.enter_context(_ResultFile(disk, errors)) if errors is not None else None
            good = files.enter_context(_ResultFile(disk, output))
            counts, usage = _write_all(results, _teller(plan, reader, dialect), good, bad or good, on_progress, models)
            _publish(disk, [file for file in (bad, good) if file], durable=durable)
    except OSError as error:
        raise Unavailable(
            f"The output {output} cannot be written: {error.strerror or error}.",
            remedy="All results are safe. Make room or mend the disk, and run the same command again: it only writes.",
        ) from error
    return Written(
        lines=sum(counts),
        succeeded=counts[Outcome.SUCCEEDED],
        errored=sum(counts) - counts[Outcome.SUCCEEDED],
        cancelled=counts[Outcome.CANCELLED],
        expired=counts[Outcome.EXPIRED],
        usage=usage,
        output_bytes=good.size_bytes,
        error_bytes=bad.size_bytes if bad else 0,
        by_model=models.used if models else {},
    )


def _write_all(
    results: Iterator[Result],
    tell: Callable[[Result], tuple[Result, bytes]],
    good: "_ResultFile",
    bad: "_ResultFile",
    on_progress: Callable[[int], None],
    models: "_Models[Any] | None",
) -> tuple[list[int], Usage]:
    """How many lines there are of each outcome, and the tokens of those that succeeded."""
    lines, counts, tokens = 0, [0] * len(Outcome), _Tokens()
    for lines, result in enumerate(results, 1):
        told, line = tell(result)
        counts[told.outcome] += 1
        if models is not None:
            models.count(result, told.outcome)
        if told.outcome is Outcome.SUCCEEDED:
            full = good.add(line)
            tokens.add(result.reply)
        else:
            full = bad.add(line)
        if full:
            on_progress(lines)
    on_progress(lines)
    return counts, tokens.usage


def _teller(plan: Plan[E], reader: Reader[E], dialect: LineDialect) -> Callable[[Result], tuple[Result, bytes]]:
    """How results are told: from themselves alone, or with the lines that asked for them."""
    if not dialect.needs_lines:
        return lambda result: (result, dialect.write(result))

    def tell(result: Result) -> tuple[Result, bytes]:
        line = reader.line(plan.entry(result.line))
        told = dialect.told(result, line)
        return told, dialect.write(told, line)

    return tell


class _Models(Generic[E]):
    """Counts what models are used for."""

    def __init__(self, plan: Plan[E], reader: Reader[E], dialect: LineDialect) -> None:
        self._plan = plan
        self._reader = reader
        self._dialect = dialect
        self._counts: dict[str, tuple[int, _Tokens]] = {}

    def count(self, result: Result, outcome: Outcome) -> None:
        """A line that never ran has used nothing; nor has one that could not."""
        entry = self._plan.entry(result.line)
        if outcome in (Outcome.CANCELLED, Outcome.EXPIRED) or entry.flags:
            return
        request = self._dialect.request(result.line, self._reader.line(entry))
        requests, tokens = self._counts.get(request.model, (0, _Tokens()))
        if outcome is Outcome.SUCCEEDED:
            tokens.add(result.reply)
        self._counts[request.model] = requests + 1, tokens

    @property
    def used(self) -> dict[str, Used]:
        return {model: Used(requests, tokens.usage) for model, (requests, tokens) in self._counts.items()}


class _Tokens:
    """Adds up what answers cost."""

    def __init__(self) -> None:
        self._input = self._output = self._cached = self._reasoning = 0

    @property
    def usage(self) -> Usage:
        return Usage(self._input, self._output, self._cached, self._reasoning)

    def add(self, reply: Reply) -> None:
        if isinstance(reply, Answer):
            usage = reply.usage
            self._input += usage.input_tokens
            self._output += usage.output_tokens
            self._cached += usage.cached_tokens
            self._reasoning += usage.reasoning_tokens


def _publish(disk: Disk, files: "list[_ResultFile]", *, durable: bool) -> None:
    """Make the files whole and safe, then give them their names."""
    for file in files:
        file.seal(durable=durable)
    for file in files:
        file.publish()
    if not durable:
        return
    for folder in {posixpath.dirname(file.path) or ".": None for file in files}:
        disk.sync_folder(folder)


class _ResultFile:
    """A file under its temporary name, written in large pieces; leaving it unpublished removes it."""

    def __init__(self, disk: Disk, path: str) -> None:
        self.path = path
        self.size_bytes = 0
        self._partial = path + ".partial"
        self._published = False
        self._disk = disk
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._handle = disk.open(self._partial, create=True)

    def __enter__(self) -> "_ResultFile":
        self._handle.truncate(0)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._handle.close()
            if not self._published:
                self._disk.remove(self._partial)

    def add(self, line: bytes) -> bool:
        """Take a line; True where a piece was written."""
        self._lines.append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes < _BUFFER_BYTES:
            return False
        self._write()
        return True

    def seal(self, *, durable: bool) -> None:
        self._write()
        if durable:
            self._handle.sync()

    def publish(self) -> None:
        self._disk.rename(self._partial, self.path)
        self._published = True

    def _write(self) -> None:
        if self._lines:
            self._handle.append(b"".join(self._lines))
            self.size_bytes += self._waiting_bytes
            self._waiting_bytes = 0
            self._lines.clear()


def _in_input_order(plan: Plan[E], reader: Reader[E], journal: Journal, dialect: LineDialect) -> Iterator[Result]:
    if not plan.followers:
        yield from journal.replay(iter(range(plan.lines)))
        return
    outcomes = journal.outcomes()
    sources = (place if _answers_itself(place, entry, outcomes) else entry.leader for place, entry in plan.entries())
    for (place, entry), result in zip(plan.entries(), journal.replay(sources), strict=True):
        yield result if result.line == place else _follow(result, place, dialect.custom_id(reader.line(entry)))


def _in_completion_order(plan: Plan[E], reader: Reader[E], journal: Journal, dialect: LineDialect) -> Iterator[Result]:
    following = Following(plan, journal.outcomes())
    for result in journal.replay(journal.places()):
        yield result
        for place in following.of(result.line):
            yield _follow(result, place, dialect.custom_id(reader.line(plan.entry(place))))


def _answers_itself(place: int, entry: Entry, outcomes: bytearray) -> bool:
    """A result of its own goes before the leader's: an earlier run may not have looked for repeated requests."""
    return entry.leader < 0 or outcomes[place] != Outcome.PENDING


def _follow(result: Result, place: int, custom_id: str | None) -> Result:
    return msgspec.structs.replace(result, line=place, custom_id=custom_id)


class Following:
    """Which lines follow a leader, in four bytes per line: a ring from each leader's last follower to its first.

    `_ring[leader]` is the last follower, `_ring[last]` the first one, any other's the next; 0 is none, places count
    from 1.
    """

    def __init__(self, plan: Plan[E], outcomes: bytearray) -> None:
        self._ring = array("I", (0,)) * (plan.lines + 1 if plan.followers else 0)
        if plan.followers:
            for place, entry in plan.entries():
                if not _answers_itself(place, entry, outcomes):
                    self._add(entry.leader + 1, place + 1)

    def of(self, leader: int) -> Iterator[int]:
        """The followers of a line that follows none, in the order of the file."""
        ring = self._ring
        last = ring[leader + 1] if ring else 0
        follower = last
        while follower:
            follower = ring[follower]
            yield follower - 1
            if follower == last:
                return

    def _add(self, leader: int, follower: int) -> None:
        ring = self._ring
        last = ring[leader]
        ring[follower] = ring[last] if last else follower
        if last:
            ring[last] = follower
        ring[leader] = follower
