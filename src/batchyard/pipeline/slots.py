"""Slots: the few coroutines that carry lines, and the one alarm that ends attempts which take too long.

A timer per request costs more than the rest of the dispatcher's own work on it. All attempts have the same time, so one
alarm for the earliest deadline is enough: when it rings, most slots have long gone on to later deadlines.
"""

import asyncio
from math import inf, isfinite


class Slot:
    """One coroutine's place. `deadline` is in the event loop's time, infinite between attempts; `weight` is what its
    attempt counts for."""

    __slots__ = ("deadline", "late", "task", "weight")

    def __init__(self) -> None:
        self.deadline = inf
        self.late = False
        self.weight = 0
        self.task: asyncio.Task[None] | None = None


class Slots:
    """All slots of a run. An attempt that passes its deadline is cancelled, and its slot marked as `late`."""

    def __init__(self, timeout_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = timeout_seconds
        self._slots: set[Slot] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self.weight = 0

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, slot: Slot) -> None:
        self._slots.add(slot)

    def remove(self, slot: Slot) -> None:
        self.weigh(slot, 0)
        self._slots.discard(slot)

    def weigh(self, slot: Slot, weight: int) -> None:
        """What a slot has in flight from now on; `weight` is that of all."""
        self.weight += weight - slot.weight
        slot.weight = weight

    def begin(self, slot: Slot, now: float) -> None:
        """An attempt begins in the slot: its time runs."""
        slot.deadline = now + self._timeout_seconds
        if self._alarm is None and isfinite(slot.deadline):
            self._alarm = self._loop.call_at(slot.deadline, self._ring)

    def end(self, slot: Slot) -> bool:
        """An attempt ends. True where its time had run out, and nobody else asked its slot to stop."""
        slot.deadline = inf
        if not slot.late:
            return False
        slot.late = False
        assert slot.task is not None
        return slot.task.uncancel() == 0

    def cancel(self) -> None:
        """Give up every attempt under way."""
        for slot in tuple(self._slots):
            if slot.task is not None:
                slot.task.cancel()

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self) -> None:
        now = self._loop.time()
        for slot in self._slots:
            if slot.deadline <= now and slot.task is not None:
                slot.deadline, slot.late = inf, True
                slot.task.cancel()
        earliest = min((slot.deadline for slot in self._slots), default=inf)
        self._alarm = self._loop.call_at(earliest, self._ring) if isfinite(earliest) else None
