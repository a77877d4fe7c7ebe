"""Measuring for the pace: numbers attempts, counts answers, and asks `policy/pace.py` what follows from them."""

from batchyard.policy.pace import Pace

WINDOW_SECONDS = 0.1
WINDOW_ANSWERS = 32
"""A window spans at least this much of both: what is shorter measures chance."""


class Pacing:
    """Holds the pace of a run. Times are the event loop's.

    After each change of the limit, as many answers as were in flight are let pass before the next window opens: they
    belong to the old limit.
    """

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._attempts = 0
        self._answers = 0
        self._opened_at = now
        self._opened_with = 0
        self._closes_with = self._size
        self._settling = False

    @property
    def limit(self) -> int:
        return self._pace.limit

    def attempt(self) -> int:
        """The number of an attempt that starts now."""
        self._attempts += 1
        return self._attempts

    def answered(self, now: float, inflight: int, weight: int = 1) -> bool:
        """An attempt of some weight was answered, `inflight` more is under way. True where the limit has changed."""
        self._answers += weight
        if self._answers < self._closes_with:
            return False
        if self._settling:
            self._open(now)
            return False
        if now - self._opened_at < WINDOW_SECONDS:
            self._closes_with += self._size
            return False
        return self._close(now, inflight, weight)

    def overloaded(self, attempt: int, inflight: int) -> bool:
        """The engine was too full for that attempt. True where that lowers the limit."""
        pace = self._pace.overloaded(attempt, self._attempts)
        if pace is self._pace:
            return False
        self._pace = pace
        self._settle(inflight)
        return True

    @property
    def _size(self) -> int:
        return max(WINDOW_ANSWERS, self._pace.limit)

    def _open(self, now: float) -> None:
        self._settling = False
        self._opened_at, self._opened_with = now, self._answers
        self._closes_with = self._answers + self._size

    def _close(self, now: float, inflight: int, weight: int) -> bool:
        before = self._pace.limit
        if inflight + weight >= before:  # only a limit that was used in full says anything about the next
            self._pace = self._pace.measured((self._answers - self._opened_with) / (now - self._opened_at))
        if self._pace.limit == before:
            self._open(now)
            return False
        self._settle(inflight)
        return True

    def _settle(self, inflight: int) -> None:
        self._settling = True
        self._closes_with = self._answers + max(1, inflight)
