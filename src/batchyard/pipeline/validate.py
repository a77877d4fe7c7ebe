"""validate: reads every line once, says what is wrong with it, and writes the plan.

One pass over the file in blocks of a megabyte. Each line goes through the dialect, and leaves a record in the plan. Ids
and digests are looked at after the pass (`spill`), and what repeats is marked in the plan. Memory does not grow with
the number of lines.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct, field
from xxhash import xxh3_64_intdigest, xxh3_128

from batchyard.config import MAX_LINE_BYTES
from batchyard.dialect import LineDialect
from batchyard.disk import Disk, Handle
from batchyard.domain.line import Line, LineError
from batchyard.domain.result import Result
from batchyard.pipeline.lines import Block, LongLine, Reader, blocks
from batchyard.pipeline.plan import MOST, RECORD, Entry, Flag, Plan, PlanWriter
from batchyard.pipeline.spill import BUCKET, KEY, Spill

__all__ = ["Reader", "Verdict", "line_errors", "refusal", "validate", "validating", "verdict_of"]

PROGRESS_BYTES = 8 << 20
PROGRESS_PAIRS = 1 << 14
TOLD_ERRORS = 1000
KNOWN_PREFIXES = 1 << 13
MOST_NAMES = 1000
PREFIX_TOKENS = 128
"""Tokens that lines with an equal prefix have in common, at least: what the prefix hash looks at, at 4 bytes each."""

BEFORE_ID = frozenset({"invalid_json_line", "missing_required_parameter"})
"""Faults that are told before a repeated id; see also `_tells_before_id`."""

OnProgress = Callable[[int, int], None]
"""Takes bytes and lines read so far; may raise to stop."""


class Verdict(Struct):
    """What a file holds.

    `lines` are those that are not blank, `invalid` those that cannot run as they stand, `followers` those that take the
    answer of an equal earlier line. `errors` are the first 1000 of `error_count` in the order of the file. `digest` is
    the XXH3-128 of the file, in hexadecimal. Tokens are estimates: 4 bytes of prompt each, and the limits that lines
    name. `by_model` and `by_endpoint` count lines that can run; past 1000 names the rest are under `(others)`.
    `shared_prefix_tokens` is how many of the input tokens begin like an earlier line, at least.
    """

    lines: int = 0
    invalid: int = 0
    followers: int = 0
    errors: list[LineError] = field(default_factory=list[LineError])
    error_count: int = 0
    digest: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    by_model: dict[str, int] = field(default_factory=dict[str, int])
    by_endpoint: dict[str, int] = field(default_factory=dict[str, int])
    shared_prefix_tokens: int = 0
    bytes: int = 0


def validate(
    disk: Disk,
    input_path: str,
    plan_path: str,
    dialect: LineDialect,
    *,
    dedupe: bool,
    on_progress: OnProgress,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Verdict:
    """Check a file and write its plan. Blocks. Wrong lines are no error of the call: the verdict counts them.

    Whatever `on_progress` raises stops the pass, and leaves no plan.
    """
    return verdict_of(
        validating(
            disk, input_path, plan_path, dialect, dedupe=dedupe, on_progress=on_progress, max_line_bytes=max_line_bytes
        )
    )


def validating(
    disk: Disk,
    input_path: str,
    plan_path: str,
    dialect: LineDialect,
    *,
    dedupe: bool,
    on_progress: OnProgress,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Generator[Verdict | None]:
    """`validate` in steps: nothing after each block of lines, at last the verdict. Any thread may take the next one."""
    handle = disk.open(input_path)
    writer = PlanWriter(disk, plan_path)
    ids, digests = Spill(disk, f"{plan_path}.ids"), Spill(disk, f"{plan_path}.digests")
    try:
        one_pass = _Pass(dialect, writer, ids, digests if dedupe else None, max_line_bytes)
        verdict = yield from one_pass.run(handle, on_progress)
        repeats = _Repeats(handle, writer, dialect, verdict)
        repeats.mark_ids(ids, on_progress)
        repeats.mark_followers(digests, on_progress)
        writer.seal()
    finally:
        ids.close()
        digests.close()
        writer.discard()
        handle.close()
    _complete(verdict, disk, input_path, plan_path, dialect, writer)
    yield verdict


def verdict_of(steps: Iterable[Verdict | None]) -> Verdict:
    """Take all steps of `validating` that are left."""
    return next(verdict for verdict in steps if verdict is not None)


def line_errors(disk: Disk, input_path: str, plan: Plan, dialect: LineDialect) -> Iterator[LineError]:
    """All errors of a planned file, in the order of its lines. Raises Conflict where the file has changed."""
    if not plan.invalid:
        return
    reader = Reader(disk, input_path)
    try:
        for _, entry in plan.flagged():
            found = refusal(entry, reader, dialect)
            if isinstance(found, LineError):
                yield found
    finally:
        reader.close()


def refusal(entry: Entry, reader: Reader, dialect: LineDialect) -> LineError | Result:
    """Why a line with a flag does not run, or what the dialect answers to it."""
    if entry.flags & Flag.TOO_LONG:
        return _too_long(entry)
    line = reader.line(entry)
    found = dialect.read(entry.number, line)
    if entry.flags & Flag.DUPLICATE_ID and not (isinstance(found, LineError) and _tells_before_id(found)):
        return _duplicate(entry, dialect.custom_id(line))
    assert not isinstance(found, Line), "a line without a fault has a flag: was the dialect set up as for the plan?"
    return found


def _too_long(entry: Entry) -> LineError:
    return LineError(
        number=entry.number,
        code="invalid_request",
        message=f"Line is too long: {entry.length} bytes.",
        remedy="Split the request; large images can be given by URL.",
    )


def _duplicate(entry: Entry, custom_id: str | None) -> LineError:
    return LineError(
        number=entry.number,
        code="duplicate_custom_id",
        message=f"Duplicate custom_id '{custom_id}': line {entry.prefix} has it already.",
        remedy="Give each line an id of its own.",
        param="custom_id",
        custom_id=custom_id,
    )


def _tells_before_id(error: LineError) -> bool:
    """Whether a fault lies before the check of ids, in the order of checks."""
    if error.code in BEFORE_ID:
        return True
    return error.code == "invalid_request" and not (error.param or "").startswith("body.")


def _complete(
    verdict: Verdict, disk: Disk, input_path: str, plan_path: str, dialect: LineDialect, writer: PlanWriter
) -> None:
    verdict.lines, verdict.invalid, verdict.followers = writer.lines, writer.invalid, writer.followers
    if not verdict.error_count:
        return
    plan = Plan.open(disk, plan_path)
    try:
        verdict.errors = list(islice(line_errors(disk, input_path, plan, dialect), TOLD_ERRORS))
    finally:
        plan.close()


class _Pass:
    """The one pass over the file."""

    def __init__(
        self, dialect: LineDialect, writer: PlanWriter, ids: Spill, digests: Spill | None, max_line_bytes: int
    ) -> None:
        self._dialect = dialect
        self._writer = writer
        self._ids = ids if dialect.unique_ids else None
        self._digests = digests
        self._most = max_line_bytes
        self._number = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._prefixes: set[int] = set()
        self._verdict = Verdict()
        self._digest = xxh3_128()
        self._told = 0

    def run(self, handle: Handle, on_progress: OnProgress) -> Generator[None, None, Verdict]:
        verdict = self._verdict
        for block in blocks(handle, self._most, lambda chunk: self._see(chunk, on_progress)):
            if isinstance(block, LongLine):
                self._number += 1
                self._writer.extend(self._too_long(block.offset, block.length, self._number), 1, 1)
            else:
                self._take(block)
            yield
        on_progress(verdict.bytes, self._writer.lines)
        verdict.digest = self._digest.hexdigest()
        for (endpoint, model), count in self._counts.items():
            _count(verdict.by_endpoint, endpoint, count)
            _count(verdict.by_model, model, count)
        return verdict

    def _see(self, chunk: bytes, on_progress: OnProgress) -> None:
        self._digest.update(chunk)
        self._verdict.bytes += len(chunk)
        if self._verdict.bytes - self._told >= PROGRESS_BYTES:
            self._told = self._verdict.bytes
            on_progress(self._told, self._writer.lines)

    def _take(self, block: Block) -> None:
        """Check the lines of a block and add their records.

        This runs for every line of every file: it is written in one piece, with local names.
        """
        read, pack = self._dialect.read, RECORD.pack
        put_id = _puts(self._ids)
        put_digest = _puts(self._digests)
        counts, prefixes, most = self._counts, self._prefixes, self._most
        offset, number, place = block.offset, self._number, self._writer.lines
        first, invalid, shared, input_tokens, output_tokens = place, 0, 0, 0, 0
        records = bytearray()
        for line in block.lines:
            number += 1
            length = len(line)
            if length > most:
                records += self._too_long(offset, length, number)
                invalid += 1
                place += 1
                offset += length + 1
                continue
            if not length or line.isspace():
                offset += length + 1
                continue
            found = read(number, line)
            check = xxh3_64_intdigest(line) & MOST
            if isinstance(found, Line):
                kind = (found.endpoint, found.model)
                counts[kind] = counts.get(kind, 0) + 1
                tokens, prefix, digest = found.input_tokens, found.prefix, found.digest
                input_tokens += tokens
                output_tokens += found.output_tokens
                if prefix in prefixes:
                    shared += tokens if tokens < PREFIX_TOKENS else PREFIX_TOKENS
                elif len(prefixes) < KNOWN_PREFIXES:
                    prefixes.add(prefix)
                if digest:
                    put_digest[digest & BUCKET](digest & KEY | place)
                records += pack(offset, prefix, digest, length, number, check, -1, tokens, found.output_tokens, 0)
            else:
                records += self._refused(found, offset, length, number, check)
                invalid += 1
            if found.custom_id is not None:
                hashed = hash(found.custom_id)
                put_id[hashed & BUCKET](hashed & KEY | place)
            place += 1
            offset += length + 1
        self._number = number
        self._verdict.input_tokens += input_tokens
        self._verdict.output_tokens += output_tokens
        self._verdict.shared_prefix_tokens += shared
        self._writer.extend(records, place - first, invalid)
        for spill in (self._ids, self._digests):
            if spill is not None:
                spill.settle(place - first)

    def _refused(self, found: LineError | Result, offset: int, length: int, number: int, check: int) -> bytes:
        self._verdict.error_count += isinstance(found, LineError)
        return RECORD.pack(offset, 0, 0, length, number, check, -1, 0, 0, Flag.INVALID)

    def _too_long(self, offset: int, length: int, number: int) -> bytes:
        self._verdict.error_count += 1
        return RECORD.pack(offset, 0, 0, min(length, MOST), number, 0, -1, 0, 0, Flag.TOO_LONG)


def _puts(spill: Spill | None) -> Sequence[Callable[[int], object]]:
    """Where hashes go: into a spill, or nowhere."""
    return [_nowhere] * (BUCKET + 1) if spill is None else spill.puts


def _nowhere(_: int) -> None:
    return None


def _count(counts: dict[str, int], name: str, more: int) -> None:
    if name not in counts and len(counts) >= MOST_NAMES:
        name = "(others)"
    counts[name] = counts.get(name, 0) + more


class _Repeats:
    """What lines repeat, compared by their own bytes."""

    def __init__(self, handle: Handle, writer: PlanWriter, dialect: LineDialect, verdict: Verdict) -> None:
        self._handle = handle
        self._writer = writer
        self._dialect = dialect
        self._verdict = verdict
        self._first: tuple[int, object] = (-1, None)
        self._pairs = 0

    def mark_ids(self, ids: Spill, on_progress: OnProgress) -> None:
        """Flag the second and later uses of an id."""
        for first, later in ids.repeats(lambda first, later: self._same(first, later, self._id)):
            self._verdict.error_count += not self._writer.entry(later).flags
            self._writer.set_duplicate(later, self._writer.entry(first).number)
            self._tell(on_progress)
        self._writer.apply()

    def mark_followers(self, digests: Spill, on_progress: OnProgress) -> None:
        """Let lines with equal requests follow the first of them, among those that can run."""
        self._first = (-1, None)  # what is kept of a line is its id until now
        flagged = self._writer.invalid > 0
        runs = self._runs if flagged else None
        for first, later in digests.repeats(lambda first, later: self._same(first, later, self._request), runs):
            self._writer.set_leader(later, first)
            self._tell(on_progress)

    def _tell(self, on_progress: OnProgress) -> None:
        """Say now and then that the pass is over and we are still here."""
        self._pairs += 1
        if self._pairs % PROGRESS_PAIRS == 0:
            on_progress(self._verdict.bytes, self._writer.lines)

    def _same(self, first: int, later: int, content: Callable[[int], object]) -> bool:
        """Whether two lines have the same content; the first one's is kept, as it is often asked for again."""
        if self._first[0] != first:
            self._first = (first, content(first))
        return self._first[1] == content(later)

    def _id(self, place: int) -> str | None:
        return self._dialect.custom_id(self._line(place))

    def _request(self, place: int) -> tuple[str, bytes]:
        request = self._dialect.request(place, self._line(place))
        return request.endpoint, request.body

    def _runs(self, place: int) -> bool:
        return not self._writer.entry(place).flags

    def _line(self, place: int) -> bytes:
        entry = self._writer.entry(place)
        return self._handle.read_at(entry.offset, entry.length)
