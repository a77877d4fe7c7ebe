"""What every journal keeps: see `batchyard.journal`."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from batchyard.disk import Disk
from batchyard.disks.local import LocalDisk
from batchyard.domain.errors import NotFound
from batchyard.domain.result import Outcome
from batchyard.journal import Journal, Recorded
from batchyard.journals.disk import open_journal
from batchyard.offload import Offload, ThreadOffload
from tests.simulation.disk import Faults, FaultyDisk
from tests.simulation.offload import InlineOffload
from tests.simulation.trace import Trace
from tests.support.results import a_result

Open = Callable[[int], Awaitable[Journal]]


@asynccontextmanager
async def _disk_journals(disk: Disk, offload: Offload, folder: str) -> AsyncGenerator[Open]:
    opened: list[Journal] = []

    async def open_one(lines: int) -> Journal:
        opened.append(await open_journal(disk, offload, f"{folder}/journal", lines))
        return opened[-1]

    yield open_one
    for journal in opened:
        await journal.close()


@pytest.fixture(params=["disk", "disk, simulated"])
async def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the journal of this test; again after closing, to see what it kept."""
    if request.param == "disk":
        offload = ThreadOffload()
        async with _disk_journals(LocalDisk(), offload, str(tmp_path)) as opening:
            yield opening
        offload.close()
    else:
        disk = FaultyDisk(Random(1), Trace(), Faults())
        async with _disk_journals(disk, InlineOffload(Random(1), 0), "/yard") as opening:
            yield opening


async def test_a_new_journal_holds_nothing(open_one: Open) -> None:
    journal = await open_one(3)
    assert journal.recorded == Recorded()
    assert journal.outcomes() == bytearray(3)
    await journal.flush()
    assert list(journal.replay(iter([]))) == []


async def test_what_was_flushed_is_counted_and_replayed(open_one: Open) -> None:
    journal = await open_one(4)
    given = [a_result(2), a_result(0, outcome=Outcome.ERRORED), a_result(3, outcome=Outcome.CANCELLED)]
    for result in given:
        journal.append(result)
    await journal.flush()
    assert journal.outcomes() == bytearray([Outcome.ERRORED, 0, Outcome.SUCCEEDED, Outcome.CANCELLED])
    assert (journal.recorded.succeeded, journal.recorded.errored, journal.recorded.cancelled) == (1, 1, 1)
    assert (journal.recorded.input_tokens, journal.recorded.output_tokens, journal.recorded.cached_tokens) == (3, 5, 1)
    assert list(journal.replay(iter([3, 0, 2, 2]))) == [given[2], given[1], given[0], given[0]]


async def test_nothing_counts_before_it_is_durable(open_one: Open) -> None:
    journal = await open_one(1)
    journal.append(a_result(0))
    assert journal.recorded.lines == 0 and journal.outcomes() == bytearray(1)
    await journal.flush()
    assert journal.recorded.lines == 1


async def test_the_first_result_of_a_line_wins(open_one: Open) -> None:
    journal = await open_one(2)
    journal.append(a_result(1, b'"first"'))
    journal.append(a_result(1, b'"second, before the first is safe"'))
    await journal.flush()
    journal.append(a_result(1, b'"third"', Outcome.ERRORED))
    await journal.flush()
    assert list(journal.replay(iter([1]))) == [a_result(1, b'"first"')]
    assert journal.recorded.lines == 1
    await journal.close()
    again = await open_one(2)
    again.append(a_result(1, b'"fourth"'))
    await again.flush()
    assert list(again.replay(iter([1]))) == [a_result(1, b'"first"')]


async def test_close_makes_everything_durable(open_one: Open) -> None:
    journal = await open_one(600)
    for line in range(600):
        journal.append(a_result(line))
    await journal.close()
    again = await open_one(600)
    assert again.recorded.succeeded == 600
    assert again.recorded.output_tokens == 3000
    assert list(again.replay(iter(range(600)))) == [a_result(line) for line in range(600)]


async def test_a_journal_that_was_opened_again_goes_on(open_one: Open) -> None:
    for line in range(5):
        journal = await open_one(5)
        assert journal.recorded.lines == line
        journal.append(a_result(line))
        await journal.close()
    journal = await open_one(5)
    assert [result.line for result in journal.replay(journal.places())] == [0, 1, 2, 3, 4]


async def test_close_may_be_repeated(open_one: Open) -> None:
    journal = await open_one(1)
    await journal.close()
    await journal.close()


async def test_places_come_in_the_order_of_recording(open_one: Open) -> None:
    journal = await open_one(10)
    order = [7, 1, 8, 0]
    for line in order:
        journal.append(a_result(line))
        journal.append(a_result(7))
    await journal.flush()
    assert list(journal.places()) == order


async def test_a_line_without_a_result_cannot_be_replayed(open_one: Open) -> None:
    journal = await open_one(2)
    with pytest.raises(NotFound):
        list(journal.replay(iter([1])))


@pytest.mark.parametrize("line", [-1, 2])
async def test_a_line_that_the_plan_does_not_have_is_refused(open_one: Open, line: int) -> None:
    journal = await open_one(2)
    with pytest.raises(IndexError):
        journal.append(a_result(line))
    await journal.flush()
    assert journal.recorded.lines == 0


async def test_there_is_room_again_once_much_has_been_written(open_one: Open) -> None:
    journal = await open_one(40)
    body = b'"' + b"x" * 500_000 + b'"'
    for line in range(40):
        journal.append(a_result(line, body))
    await journal.room()
    assert journal.recorded.lines > 0
    await journal.flush()
    assert [result.line for result in journal.replay(iter(range(40)))] == list(range(40))
