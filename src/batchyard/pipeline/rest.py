"""What is left of a planned run: lines without a result, to be asked, or to be given up."""

import asyncio
from array import array
from collections.abc import Callable, Iterable, Iterator

from msgspec import structs

from batchyard.dialect import LineDialect
from batchyard.domain.batch import Counts
from batchyard.domain.line import LineError
from batchyard.domain.request import Request
from batchyard.domain.result import Failure, Outcome, Result, Usage
from batchyard.pipeline.folder import Opened
from batchyard.pipeline.lines import Reader
from batchyard.pipeline.validate import refusal

GIVEN_UP_AT_ONCE = 256


def is_left(run: Opened) -> bool:
    """Whether a line is left that an engine must answer; followers take their leader's answer."""
    return run.journal.recorded.lines < run.plan.lines - run.plan.followers


def requests(run: Opened, dialect: LineDialect) -> Iterator[Request]:
    """The requests that have no result yet, in the order of the plan, read as they are needed."""
    outcomes = run.journal.outcomes()
    first = outcomes.find(Outcome.PENDING)  # what an earlier walk has done is passed over at once
    for place, entry in run.plan.entries(first) if first >= 0 else ():
        if outcomes[place] == Outcome.PENDING and entry.leader < 0 and not entry.flags:
            yield dialect.request(place, run.reader.line(entry))


def by_model(run: Opened, dialect: LineDialect, model_of: Callable[[str], str]) -> dict[str, "array[int]"]:
    """The places of the requests that have no result yet, by the own name of the model that each asks for. Blocks.

    It costs four bytes a line, where one model in all lines needs none of it.
    """
    places: dict[str, array[int]] = {}
    for request in requests(run, dialect):
        places.setdefault(model_of(request.model), array("I")).append(request.line)
    return places


def requests_at(run: Opened, reader: Reader, dialect: LineDialect, places: Iterable[int]) -> Iterator[Request]:
    """The requests at some places that have no result yet, read as they are needed, with a reader of their own."""
    outcomes = run.journal.outcomes()
    for place in places:
        if outcomes[place] == Outcome.PENDING:
            yield dialect.request(place, reader.line(run.plan.entry(place)))


async def record_error_lines(run: Opened, dialect: LineDialect) -> int:
    """Give lines that cannot run their error as their result, before anything runs; how many had none."""
    plan, journal, recorded = run.plan, run.journal, 0
    if not plan.invalid:
        return 0
    outcomes = journal.outcomes()
    for place, entry in plan.flagged():
        if outcomes[place] == Outcome.PENDING:
            found = refusal(entry, run.reader, dialect)
            result = dialect.error(found) if isinstance(found, LineError) else found
            journal.append(structs.replace(result, line=place))
            recorded += 1
            await journal.room()
    await journal.flush()
    return recorded


async def give_up(run: Opened, dialect: LineDialect, outcome: Outcome, failure: Failure) -> None:
    """Record that no line without a result will run any more; durable when this returns.

    Nothing may be under way, and every result must be durable.
    """
    outcomes, journal = run.journal.outcomes(), run.journal
    for count, (place, entry) in enumerate(run.plan.entries()):
        if count % GIVEN_UP_AT_ONCE == 0:
            await asyncio.sleep(0)  # others want to be served, too
        if outcomes[place] == Outcome.PENDING and entry.leader < 0:
            journal.append(Result(place, dialect.custom_id(run.reader.line(entry)), outcome, failure, attempts=0))
            await journal.room()
    await journal.flush()


def counted(run: Opened) -> tuple[Counts, Usage]:
    """How far the run is, by what is durable. Lines that will take another's answer are pending."""
    recorded = run.journal.recorded
    counts = Counts(
        run.plan.lines, recorded.succeeded, recorded.errored, cancelled=recorded.cancelled, expired=recorded.expired
    )
    return counts, Usage(recorded.input_tokens, recorded.output_tokens, recorded.cached_tokens)


def final_counts(run: Opened) -> Counts:
    """How the lines of a run end of which none is left, followers as their leaders. Blocks."""
    outcomes, counts = run.journal.outcomes(), [0] * len(Outcome)
    for place, entry in run.plan.entries():
        own = outcomes[place]
        counts[own if own or entry.leader < 0 else outcomes[entry.leader]] += 1
    return Counts(
        run.plan.lines,
        counts[Outcome.SUCCEEDED],
        counts[Outcome.ERRORED],
        cancelled=counts[Outcome.CANCELLED],
        expired=counts[Outcome.EXPIRED],
    )
