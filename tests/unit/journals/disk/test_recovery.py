"""What is left of a journal after any cut: every durable result, and no part of one."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from batchyard.domain.errors import Conflict, Unavailable
from batchyard.domain.result import Result
from batchyard.journals.disk import DiskJournal, open_journal
from tests.simulation.disk import Faults, FaultyDisk, PowerCut
from tests.simulation.loop import SimulatedLoop
from tests.simulation.offload import InlineOffload
from tests.simulation.trace import Trace
from tests.support.any_results import results
from tests.support.results import a_result

T = TypeVar("T")
LINES = 6
DATA = "/yard/journal/000001.jsonl"
INDEX = "/yard/journal/000001.idx"


_results = results(st.integers(0, LINES - 1))


def on_a_loop(walk: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await walk()

    return SimulatedLoop().run(main())


def a_disk(files: dict[str, bytes] | None = None) -> FaultyDisk:
    disk = FaultyDisk(Random(1), Trace(), Faults())
    disk.make_folder("/yard/journal")
    disk.sync_folder("/")
    for path, content in (files or {}).items():
        disk.open(path, create=True).append(content)
    return disk


async def opened(disk: FaultyDisk, lines: int = LINES) -> DiskJournal:
    return await open_journal(disk, InlineOffload(Random(1)), "/yard/journal", lines)


async def kept(disk: FaultyDisk, lines: int = LINES) -> list[Result]:
    journal = await opened(disk, lines)
    found = list(journal.replay(journal.places()))
    assert journal.recorded.lines == len(found) == lines - journal.outcomes().count(0)
    await journal.close()
    return found


async def two_groups(disk: FaultyDisk) -> tuple[bytes, bytes]:
    """Two results, each durable on its own: the files after the first one."""
    journal = await opened(disk)
    journal.append(a_result(0))
    await journal.flush()
    files = disk.files()
    journal.append(a_result(1))
    await journal.close()
    return files[DATA], files[INDEX]


def test_an_index_that_ends_at_any_byte_keeps_the_groups_before_it() -> None:
    async def walk() -> None:
        disk = a_disk()
        _, first_index = await two_groups(disk)
        whole = disk.files()
        for end in range(len(first_index), len(whole[INDEX])):
            torn = a_disk({DATA: whole[DATA], INDEX: whole[INDEX][:end]})
            found = await kept(torn)
            sealed = end >= len(whole[INDEX])
            assert found == [a_result(0), a_result(1)][: 1 + sealed]
            assert torn.files()[INDEX] == first_index

    on_a_loop(walk)


def test_an_index_with_any_byte_of_its_last_group_lost_keeps_the_groups_before_it() -> None:
    async def walk() -> None:
        disk = a_disk()
        first_data, first_index = await two_groups(disk)
        whole = disk.files()
        for at in range(len(first_index), len(whole[INDEX])):
            index = bytearray(whole[INDEX])
            index[at] ^= 0xFF
            torn = a_disk({DATA: whole[DATA], INDEX: bytes(index)})
            found = await kept(torn)
            if at < len(whole[INDEX]) - 16:  # the last bytes of a seal mean nothing
                assert found == [a_result(0)]
                assert torn.files() == {DATA: first_data, INDEX: first_index}

    on_a_loop(walk)


def test_data_that_ends_or_is_wrong_at_any_byte_takes_only_its_own_group_along() -> None:
    async def walk() -> None:
        disk = a_disk()
        first_data, first_index = await two_groups(disk)
        whole = disk.files()
        for at in range(len(first_data), len(whole[DATA])):
            wrong = bytearray(whole[DATA])
            wrong[at] = 0
            for data in (whole[DATA][:at], bytes(wrong)):
                torn = a_disk({DATA: data, INDEX: whole[INDEX]})
                assert await kept(torn) == [a_result(0)]
                assert torn.files() == {DATA: first_data, INDEX: first_index}

    on_a_loop(walk)


def test_what_is_appended_after_a_tear_stands_where_the_torn_group_stood() -> None:
    async def walk() -> None:
        disk = a_disk()
        await two_groups(disk)
        whole = disk.files()
        torn = a_disk({DATA: whole[DATA], INDEX: whole[INDEX][:-30]})
        journal = await opened(torn)
        journal.append(a_result(5))
        await journal.close()
        assert await kept(torn) == [a_result(0), a_result(5)]

    on_a_loop(walk)


def test_a_group_that_rotted_in_the_middle_costs_only_itself() -> None:
    async def walk() -> None:
        disk = a_disk()
        _, first_index = await two_groups(disk)
        whole = disk.files()
        rotten = bytearray(whole[INDEX])
        rotten[len(first_index) - 60] ^= 1
        assert await kept(a_disk({DATA: whole[DATA], INDEX: bytes(rotten)})) == [a_result(1)]

    on_a_loop(walk)


def test_data_that_rotted_after_it_was_opened_is_told_and_not_delivered() -> None:
    async def walk() -> None:
        disk = a_disk()
        await two_groups(disk)
        journal = await opened(disk)
        disk.open(DATA).write_at(40, b"~")
        with pytest.raises(Unavailable, match="line 0 is damaged"):
            list(journal.replay(iter([0])))
        await journal.close()

    on_a_loop(walk)


def test_a_journal_of_a_longer_plan_is_refused() -> None:
    async def walk() -> None:
        disk = a_disk()
        await two_groups(disk)
        with pytest.raises(Conflict, match="another input"):
            await opened(disk, 1)

    on_a_loop(walk)


def test_strangers_in_the_folder_are_left_alone() -> None:
    async def walk() -> None:
        disk = a_disk({"/yard/journal/notes.txt": b"mine", "/yard/journal/x.idx": b"?"})
        await two_groups(disk)
        assert await kept(disk) == [a_result(0), a_result(1)]
        assert disk.files()["/yard/journal/notes.txt"] == b"mine"

    on_a_loop(walk)


class JournalUnderPowerCuts(RuleBasedStateMachine):
    """Appends, flushes, waits, loses power and processes, fills and breaks; compares with what was reported durable."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = FaultyDisk(self.random, Trace(), Faults())
        self.disk.make_folder("/yard")
        self.disk.sync_folder("/")
        self.safe: dict[int, Result] = {}
        self.given: dict[int, list[Result]] = {}
        self.reopen()

    def reopen(self) -> None:
        """Open on whatever the disk is now; where that fails again, it is worth another attempt."""
        self.loop = SimulatedLoop()
        try:
            self.journal = self.loop.run_until_complete(self.open())
        except Unavailable:
            self.stop(self.disk.kill)
        except PowerCut:
            self.stop(self.disk.cut)
        else:
            self.check_kept()

    async def open(self) -> DiskJournal:
        return await open_journal(self.disk, InlineOffload(self.random), "/yard/journal", LINES)

    def stop(self, end: Callable[[Faults], FaultyDisk]) -> None:
        self.loop.drop_everything()
        self.disk = end(Faults())
        self.reopen()

    def check_kept(self) -> None:
        """After opening: nothing safe is lost, and all that is there was given, whole, and first come first kept."""
        found = {result.line: result for result in self.journal.replay(self.journal.places())}
        assert found.keys() >= self.safe.keys()
        for line, result in found.items():
            assert result == self.safe.get(line, result)
            assert result in self.given[line]
        self.safe = found
        self.given = {line: [result] for line, result in found.items()}

    def see_safe(self) -> None:
        """Whatever the journal says is durable now must stay."""
        for line, outcome in enumerate(self.journal.outcomes()):
            if outcome and line not in self.safe:
                self.safe[line] = self.given[line][0]

    @rule(result=_results)
    def append(self, result: Result) -> None:
        try:
            self.journal.append(result)
        except Unavailable:
            return
        self.given.setdefault(result.line, []).append(result)

    @rule()
    def flush(self) -> None:
        self.run(self.journal.flush)
        if self.journal.recorded.lines < len(self.given):
            with pytest.raises(Unavailable, match=f"{self.journal.recorded.lines} of {LINES} results are safe"):
                self.loop.run_until_complete(self.journal.flush())

    @rule(seconds=st.floats(0, 0.2))
    def wait(self, seconds: float) -> None:
        self.run(lambda: asyncio.sleep(seconds))

    def run(self, walk: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await walk()

        try:
            self.loop.run_until_complete(main())
        except Unavailable:
            pass
        except PowerCut:
            self.see_safe()
            self.stop(self.disk.cut)
        self.see_safe()

    @rule()
    def close_and_reopen(self) -> None:
        self.run(self.journal.close)
        self.stop(self.disk.kill)

    @rule()
    def lose_power(self) -> None:
        self.stop(self.disk.cut)

    @rule()
    def die(self) -> None:
        self.stop(self.disk.kill)

    @rule(given=st.lists(_results, min_size=1, max_size=4), calls=st.integers(1, 8))
    def lose_power_in_a_commit(self, given: list[Result], calls: int) -> None:
        for result in given:
            self.append(result)
        self.disk.faults.cut_at_call = self.disk.calls + calls
        self.flush()

    @rule(calls=st.integers(1, 12))
    def lose_power_while_opening(self, calls: int) -> None:
        self.loop.drop_everything()
        self.disk = self.disk.cut(Faults(cut_at_call=calls))
        self.reopen()

    @rule(result=_results, syncs=st.integers(1, 3))
    def fail_a_sync_in_a_commit(self, result: Result, syncs: int) -> None:
        self.append(result)
        self.disk.faults.failing_sync = self.disk.syncs + syncs
        self.flush()
        self.stop(self.disk.kill)

    @rule(result=_results, room=st.integers(0, 400))
    def fill_up_in_a_commit(self, result: Result, room: int) -> None:
        self.append(result)
        self.disk.faults.capacity_bytes = sum(map(len, self.disk.files().values())) + room
        self.flush()
        self.stop(self.disk.kill)

    @invariant()
    def counts_are_of_what_is_safe(self) -> None:
        if hasattr(self, "journal"):
            self.see_safe()
            assert self.journal.recorded.lines == len(self.safe)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.drop_everything()


JournalUnderPowerCuts.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
test_a_journal_under_power_cuts_keeps_what_it_reported = JournalUnderPowerCuts.TestCase
