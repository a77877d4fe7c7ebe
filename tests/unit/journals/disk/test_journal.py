"""How the journal commits: in time, in groups, one after another, and honestly when it cannot."""

import asyncio
import tracemalloc
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

import pytest

from batchyard.domain.errors import Unavailable
from batchyard.journal import GROUP_SECONDS
from batchyard.journals.disk import DiskJournal, files, open_journal
from tests.simulation.disk import Faults, FaultyDisk
from tests.simulation.loop import SimulatedLoop
from tests.simulation.offload import InlineOffload
from tests.simulation.trace import Trace
from tests.support.results import a_result

T = TypeVar("T")
LINES = 2000


class SlowDisk:
    """An offload whose every step takes a given time, and that counts them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steps = 0

    async def __call__(self, step: Callable[[], T], /) -> T:
        await asyncio.sleep(self.seconds)
        self.steps += 1
        return step()


def a_disk(seed: int = 1) -> FaultyDisk:
    return FaultyDisk(Random(seed), Trace(), Faults())


def on_a_loop(main: Coroutine[Any, Any, T]) -> T:
    return SimulatedLoop().run(main)


def test_a_lone_result_is_durable_after_one_group_time_and_one_write() -> None:
    async def main() -> None:
        journal = await open_journal(a_disk(), SlowDisk(0.01), "/journal", LINES)
        journal.append(a_result(0))
        await asyncio.sleep(GROUP_SECONDS + 0.009)
        assert journal.recorded.lines == 0
        await asyncio.sleep(0.002)
        assert journal.recorded.lines == 1
        await journal.close()

    on_a_loop(main())


def test_results_that_come_together_are_written_together() -> None:
    async def main() -> None:
        offload = SlowDisk(0.001)
        journal = await open_journal(a_disk(), offload, "/journal", LINES)
        opened = offload.steps
        for line in range(100):
            journal.append(a_result(line))
        await asyncio.sleep(GROUP_SECONDS + 0.01)
        assert journal.recorded.lines == 100
        assert offload.steps == opened + 1
        await journal.close()

    on_a_loop(main())


@pytest.mark.parametrize(("results", "body_bytes"), [(256, 10), (1, 300_000)])
def test_a_full_group_does_not_wait(results: int, body_bytes: int) -> None:
    async def main() -> None:
        journal = await open_journal(a_disk(), SlowDisk(0.001), "/journal", LINES)
        for line in range(results):
            journal.append(a_result(line, b'"%b"' % (b"x" * body_bytes)))
        await asyncio.sleep(0.002)
        assert journal.recorded.lines == results
        await journal.close()

    on_a_loop(main())


def test_the_next_group_gathers_while_one_is_written_and_follows_at_once() -> None:
    async def main() -> None:
        offload = SlowDisk(0.5)
        journal = await open_journal(a_disk(), offload, "/journal", LINES)
        opened = offload.steps
        journal.append(a_result(0))
        await asyncio.sleep(GROUP_SECONDS + 0.1)
        for line in range(1, 50):
            journal.append(a_result(line))
        await asyncio.sleep(0.41)
        assert journal.recorded.lines == 1
        await asyncio.sleep(0.5)
        assert journal.recorded.lines == 50 and offload.steps == opened + 2
        await journal.close()

    on_a_loop(main())


def test_flush_does_not_wait_for_the_group_time() -> None:
    async def main() -> float:
        journal = await open_journal(a_disk(), SlowDisk(0.001), "/journal", LINES)
        began = asyncio.get_running_loop().time()
        journal.append(a_result(0))
        await journal.flush()
        took = asyncio.get_running_loop().time() - began
        await journal.close()
        return took

    assert on_a_loop(main()) < 0.002


def test_there_is_no_room_while_much_is_unwritten() -> None:
    async def main() -> None:
        journal = await open_journal(a_disk(), SlowDisk(1), "/journal", LINES)
        await journal.room()
        for line in range(10):
            journal.append(a_result(line, b'"%b"' % (b"x" * (1 << 20))))
        began = asyncio.get_running_loop().time()
        await journal.room()
        assert asyncio.get_running_loop().time() - began >= 1
        await journal.close()

    on_a_loop(main())


def _breaks(faults: Callable[[FaultyDisk], None], seed: int = 1) -> FaultyDisk:
    """A journal with two safe results whose third cannot become safe; what every call then says."""

    async def main(disk: FaultyDisk) -> None:
        journal = await open_journal(disk, InlineOffload(Random(1)), "/journal", LINES)
        journal.append(a_result(0))
        journal.append(a_result(1))
        await journal.flush()
        faults(disk)
        journal.append(a_result(2))
        for call in (journal.flush, journal.room, journal.flush, journal.close):
            with pytest.raises(Unavailable) as told:
                await call()
            assert (
                "2 of 2000 results are safe" in told.value.remedy and "run the same command again" in told.value.remedy
            )
        with pytest.raises(Unavailable):
            journal.append(a_result(3))
        assert journal.recorded.lines == 2

    disk = a_disk(seed)
    on_a_loop(main(disk))
    disk = disk.kill(Faults())
    assert on_a_loop(_kept(disk)) >= [0, 1]
    return disk


async def _kept(disk: FaultyDisk) -> list[int]:
    journal: DiskJournal = await open_journal(disk, InlineOffload(Random(1)), "/journal", LINES)
    lines = [result.line for result in journal.replay(journal.places())]
    await journal.close()
    return lines


@pytest.mark.parametrize("room", [0, 10, 150, 250])
def test_a_full_disk_is_told_and_harms_nothing_that_is_safe(room: int) -> None:
    def fill(disk: FaultyDisk) -> None:
        disk.faults.capacity_bytes = sum(map(len, disk.files().values())) + room

    _breaks(fill)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sync", [1, 2])
def test_a_failing_sync_is_told_and_never_taken_for_safe_later(sync: int, seed: int) -> None:
    def fail(disk: FaultyDisk) -> None:
        disk.faults.failing_sync = disk.syncs + sync

    disk = _breaks(fail, seed)
    kept = on_a_loop(_kept(disk))
    assert on_a_loop(_kept(disk.cut(Faults()))) == kept


def test_a_journal_opens_on_a_full_disk_and_gives_back_what_it_holds() -> None:
    disk = a_disk()

    async def main() -> None:
        journal = await open_journal(disk, InlineOffload(Random(1)), "/journal", LINES)
        journal.append(a_result(4))
        await journal.close()

    on_a_loop(main())
    full = disk.kill(Faults(capacity_bytes=0))
    assert on_a_loop(_kept(full)) == [4]


def test_a_disk_that_fails_when_the_journal_is_opened_is_told() -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        on_a_loop(_kept(FaultyDisk(Random(1), Trace(), Faults(failing_sync=1))))


def test_segments_follow_one_another_and_are_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SEGMENT_BYTES", 1000)
    disk = a_disk()

    async def main() -> None:
        for start in (0, 20):
            journal = await open_journal(disk, InlineOffload(Random(1)), "/journal", LINES)
            for line in range(start, start + 20):
                journal.append(a_result(line))
                await journal.flush()
            await journal.close()

    on_a_loop(main())
    names = [path for path in disk.files() if path.endswith(".jsonl")]
    assert names == [f"/journal/{number:06}.jsonl" for number in range(1, len(names) + 1)] and len(names) > 3
    assert on_a_loop(_kept(disk)) == list(range(40))


def test_a_line_costs_nine_bytes_of_memory() -> None:
    async def main() -> int:
        tracemalloc.start()
        journal = await open_journal(a_disk(), InlineOffload(Random(1)), "/journal", 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await journal.close()
        return peak

    assert on_a_loop(main()) < 9_200_000
