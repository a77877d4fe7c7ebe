from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from batchyard.config import Order
from batchyard.domain.errors import NotFound, Unavailable
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.domain.result import Outcome, Result
from batchyard.journals.disk import DiskJournal, open_journal
from batchyard.pipeline.finalize import Following, Written, finalize
from tests.simulation.disk import Faults, FaultyDisk
from tests.simulation.offload import InlineOffload
from tests.simulation.trace import Trace
from tests.support.results import a_result


class AnEntry(Struct, frozen=True):
    place: int
    leader: int = -1
    flags: int = 0


class APlan:
    """A plan in memory: for each line its leader, or -1."""

    def __init__(self, leaders: Iterable[int]) -> None:
        self._entries = [AnEntry(place, leader) for place, leader in enumerate(leaders)]

    @property
    def lines(self) -> int:
        return len(self._entries)

    @property
    def followers(self) -> int:
        return sum(entry.leader >= 0 for entry in self._entries)

    def entry(self, place: int) -> AnEntry:
        return self._entries[place]

    def entries(self) -> Iterator[tuple[int, AnEntry]]:
        return enumerate(self._entries)


class AReader:
    def line(self, entry: AnEntry) -> bytes:
        return b"line %d" % entry.place


class ADialect:
    """Writes id, place, outcome and answer of a result."""

    name = "plain"
    unique_ids = False
    needs_lines = False
    errors_apart = True

    def read(self, number: int, line: bytes) -> Line | LineError | Result:
        raise NotImplementedError

    def request(self, place: int, line: bytes) -> Request:
        raise NotImplementedError

    def custom_id(self, line: bytes) -> str | None:
        return f"own id of {line.decode()}"

    def error(self, error: LineError) -> Result:
        raise NotImplementedError

    def is_error(self, written: bytes) -> bool:
        raise NotImplementedError("errors stand apart")

    def told(self, result: Result, line: bytes = b"") -> Result:
        return result

    def write(self, result: Result, line: bytes = b"") -> bytes:
        return f"{result.line} {result.custom_id} {result.outcome.name} {result.reply!r}\n".encode()


class Station:
    """finalize on a simulated disk, with the results that a test puts into the journal."""

    def __init__(self, disk: FaultyDisk, journal: DiskJournal) -> None:
        self.disk = disk
        self.journal = journal

    async def record(self, *results: Result) -> None:
        for result in results:
            self.journal.append(result)
            await self.journal.flush()

    def finalize(
        self,
        leaders: Iterable[int],
        *,
        errors: str | None = None,
        order: Order = Order.INPUT,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Written:
        return finalize(
            self.disk,
            APlan(leaders),
            AReader(),
            self.journal,
            ADialect(),
            output="/out/good",
            errors=errors,
            order=order,
            on_progress=on_progress,
        )

    def written(self) -> dict[str, list[str]]:
        files = self.disk.files().items()
        return {path: content.decode().splitlines() for path, content in files if path.startswith("/out/")}


@pytest.fixture
async def station() -> AsyncIterator[Station]:
    disk = FaultyDisk(Random(1), Trace(), Faults())
    disk.make_folder("/out")
    journal = await open_journal(disk, InlineOffload(Random(1), 0), "/yard/journal", 6)
    yield Station(disk, journal)
    await journal.close()


def text(result: Result) -> str:
    return ADialect().write(result).decode().rstrip("\n")


def follow(leader: Result, place: int) -> str:
    return text(msgspec.structs.replace(leader, line=place, custom_id=f"own id of line {place}"))


async def test_lines_come_in_the_order_of_the_input(station: Station) -> None:
    results = [a_result(2), a_result(0, outcome=Outcome.ERRORED), a_result(1)]
    await station.record(*results)
    written = station.finalize([-1, -1, -1])
    assert station.written() == {"/out/good": [text(results[1]), text(results[2]), text(results[0])]}
    assert (written.lines, written.succeeded, written.errored) == (3, 2, 1)
    assert written.output_bytes == len(station.disk.files()["/out/good"])


async def test_lines_come_in_the_order_of_completion_where_asked(station: Station) -> None:
    results = [a_result(2), a_result(0), a_result(1)]
    await station.record(*results)
    station.finalize([-1, -1, -1], order=Order.COMPLETION)
    assert station.written() == {"/out/good": [text(result) for result in results]}


async def test_failed_lines_stand_in_the_errors_file_where_there_is_one(station: Station) -> None:
    results = [a_result(0), a_result(1, outcome=Outcome.ERRORED), a_result(2, outcome=Outcome.EXPIRED)]
    await station.record(*results)
    written = station.finalize([-1, -1, -1], errors="/out/bad")
    assert station.written() == {"/out/good": [text(results[0])], "/out/bad": [text(results[1]), text(results[2])]}
    assert written.error_bytes == len(station.disk.files()["/out/bad"])


async def test_an_errors_file_is_written_even_if_nothing_failed(station: Station) -> None:
    await station.record(a_result(0))
    station.finalize([-1], errors="/out/bad")
    assert station.written()["/out/bad"] == []


async def test_followers_take_their_leaders_reply_under_their_own_id(station: Station) -> None:
    leader, other = a_result(0), a_result(2)
    await station.record(other, leader)
    written = station.finalize([-1, 0, -1, 0])
    assert station.written()["/out/good"] == [text(leader), follow(leader, 1), text(other), follow(leader, 3)]
    assert written.succeeded == 4


async def test_in_the_order_of_completion_followers_come_right_after_their_leader(station: Station) -> None:
    leader, other = a_result(0), a_result(2)
    await station.record(other, leader)
    station.finalize([-1, 0, -1, 0, 2, 0], order=Order.COMPLETION)
    expected = [text(other), follow(other, 4), text(leader), *(follow(leader, place) for place in (1, 3, 5))]
    assert station.written()["/out/good"] == expected


@pytest.mark.parametrize("order", Order)
async def test_a_follower_that_has_a_result_of_its_own_keeps_it(station: Station, order: Order) -> None:
    leader, own = a_result(0), a_result(1, b'"own"')
    await station.record(leader, own)
    station.finalize([-1, 0, 0], order=order)
    assert sorted(station.written()["/out/good"]) == sorted([text(leader), text(own), follow(leader, 2)])


async def test_followers_of_a_failed_line_fail_too(station: Station) -> None:
    leader = a_result(0, outcome=Outcome.ERRORED)
    await station.record(leader)
    written = station.finalize([-1, 0], errors="/out/bad")
    assert station.written() == {"/out/good": [], "/out/bad": [text(leader), follow(leader, 1)]}
    assert written.errored == 2


async def test_a_plan_without_lines_gives_an_empty_file(station: Station) -> None:
    assert station.finalize([]).lines == 0
    assert station.written() == {"/out/good": []}


async def test_a_line_without_a_result_leaves_the_files_as_they_were(station: Station) -> None:
    station.disk.open("/out/good", create=True).append(b"before\n")
    await station.record(a_result(0))
    with pytest.raises(NotFound):
        station.finalize([-1, -1])
    assert station.written() == {"/out/good": ["before"]}


async def test_whoever_stops_it_in_the_middle_leaves_the_files_as_they_were(station: Station) -> None:
    class Stopped(Exception):
        pass

    def stop(lines: int) -> None:
        raise Stopped

    station.disk.open("/out/good", create=True).append(b"before\n")
    await station.record(*(a_result(line, b'"' + b"x" * 600_000 + b'"') for line in range(6)))
    with pytest.raises(Stopped):
        station.finalize([-1] * 6, on_progress=stop)
    assert station.written() == {"/out/good": ["before"]}


async def test_progress_is_told_on_the_way_and_at_the_end(station: Station) -> None:
    told: list[int] = []
    await station.record(*(a_result(line, b'"' + b"x" * 600_000 + b'"') for line in range(6)))
    station.finalize([-1] * 6, on_progress=told.append)
    assert len(told) > 2 and told[-1] == 6 and told == sorted(told)


async def test_a_full_disk_leaves_the_files_as_they_were_and_says_what_to_do(station: Station) -> None:
    station.disk.open("/out/good", create=True).append(b"before\n")
    await station.record(a_result(0), a_result(1))
    station.disk.faults.capacity_bytes = sum(map(len, station.disk.files().values())) + 50
    with pytest.raises(Unavailable, match="All results are safe"):
        station.finalize([-1, -1])
    assert station.written() == {"/out/good": ["before"]}


@pytest.mark.parametrize("sync", range(3))
async def test_a_failing_sync_is_told(station: Station, sync: int) -> None:
    await station.record(a_result(0))
    station.disk.faults.failing_sync = station.disk.syncs + 1 + sync
    with pytest.raises(Unavailable):
        station.finalize([-1], errors="/out/bad")
    assert not any(path.endswith(".partial") for path in station.disk.files())


async def test_what_a_crash_left_of_an_output_is_written_over(station: Station) -> None:
    station.disk.open("/out/good.partial", create=True).append(b"x" * 10_000)
    await station.record(a_result(0))
    station.finalize([-1])
    assert station.written() == {"/out/good": [text(a_result(0))]}


async def test_the_output_survives_a_power_cut_right_afterwards(station: Station) -> None:
    station.disk.sync_folder("/")
    await station.record(a_result(0))
    station.finalize([-1], errors="/out/bad")
    await station.journal.close()
    after = station.disk.cut(Faults())
    assert after.files()["/out/good"].decode().splitlines() == [text(a_result(0))]
    assert after.files()["/out/bad"] == b""


@given(st.lists(st.integers(-1, 20), max_size=20))
def test_followers_are_found_by_their_leader_in_the_order_of_the_file(drawn: list[int]) -> None:
    leaders = [leader if leader < place else -1 for place, leader in enumerate(drawn)]
    leaders = [leader if leader < 0 or leaders[leader] < 0 else -1 for leader in leaders]  # a leader follows nobody
    following = Following(APlan(leaders), bytearray(len(leaders)))
    for place in (place for place, leader in enumerate(leaders) if leader < 0):
        assert list(following.of(place)) == [line for line, leader in enumerate(leaders) if leader == place]
