"""Offloads on threads: what keeps its order, what runs side by side, what is done together."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pytest

from batchyard.offload import Lanes, Offload, Together, Wish
from tests.support.tenants import TurnsOffload

T = TypeVar("T")


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    lanes = Lanes(2)
    yield lanes
    lanes.close()


async def test_a_lane_keeps_the_order_of_its_steps(lanes: Lanes) -> None:
    lane, seen = lanes.lane(), list[int]()
    await asyncio.gather(*(lane(lambda number=number: seen.append(number)) for number in range(100)))
    assert seen == list(range(100))


async def test_lanes_run_side_by_side(lanes: Lanes) -> None:
    both = threading.Barrier(2, timeout=30)
    await asyncio.gather(lanes.lane()(both.wait), lanes.lane()(both.wait))


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a niceness of its own on Linux")
async def test_lanes_let_other_threads_go_first() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, lanes = niceness(), Lanes(1, niceness=3)
    try:
        assert (await lanes.lane()(niceness), niceness()) == (before + 3, before)
    finally:
        lanes.close()


async def test_a_lane_says_what_went_wrong_and_goes_on(lanes: Lanes) -> None:
    lane = lanes.lane()
    with pytest.raises(ZeroDivisionError):
        await lane(lambda: 1 // 0)
    assert await lane(lambda: 7) == 7


async def test_the_step_after_one_that_was_given_up_waits_for_it(lanes: Lanes) -> None:
    lane, begun, go, seen = lanes.lane(), threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        assert go.wait(30)
        seen.append("slow")

    async with asyncio.TaskGroup() as group:
        given_up = group.create_task(lane(slow))
        await lanes.lane()(lambda: begun.wait(30))
        given_up.cancel()
        await asyncio.wait({given_up})
        next_one = group.create_task(lane(lambda: seen.append("next")))
        await lanes.lane()(lambda: None)
        go.set()
        await next_one
    assert seen == ["slow", "next"]


class Work:
    """Adds one to numbers, and remembers what it was given at once. An odd number is wrong, 13 is a catastrophe."""

    def __init__(self, offload: Offload | None = None) -> None:
        self.lots: list[list[int]] = []
        self.together: Together[int] = Together(offload or TurnsOffload(), self._do, most=4)

    def _do(self, wishes: Sequence[Wish[int]]) -> None:
        self.lots.append([wish.what for wish in wishes])
        for wish in wishes:
            if wish.what == 13:
                raise OSError("the disk is gone")
            if wish.what % 2:
                wish.error = ValueError(wish.what)
            wish.result = wish.what + 1


class _Gate:
    """An offload that waits until it is told to go."""

    def __init__(self, go: asyncio.Event) -> None:
        self._go = go

    async def __call__(self, step: Callable[[], T], /) -> T:
        await self._go.wait()
        return step()


async def test_what_waits_is_done_in_one_go_in_its_order_and_in_lots_that_are_bounded() -> None:
    work = Work()
    assert await asyncio.gather(*(work.together(number) for number in range(0, 12, 2))) == list(range(1, 13, 2))
    assert work.lots == [[0, 2, 4, 6], [8, 10]]
    assert await work.together(100) == 101


async def test_each_hears_of_its_own_error_and_all_of_one_that_ended_the_lot() -> None:
    work = Work()
    ends = await asyncio.gather(*(work.together(number) for number in (2, 3)), return_exceptions=True)
    assert ends[0] == 3 and isinstance(ends[1], ValueError)
    ends = await asyncio.gather(*(work.together(number) for number in (2, 13, 4)), return_exceptions=True)
    assert [type(end) for end in ends] == [OSError] * 3
    assert await work.together(4) == 5


async def test_what_was_given_up_before_its_turn_is_not_done() -> None:
    go = asyncio.Event()
    work = Work(_Gate(go))
    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(work.together(0)), group.create_task(work.together(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        go.set()
        await first
    assert work.lots == [[0]]
