"""How much may be sent now: the pace, a pause after overload, and patience with an engine that cannot be reached."""

from collections.abc import Callable
from random import Random

from batchyard.config import DispatchSettings
from batchyard.domain.errors import Unavailable
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.pipeline.pacing import Pacing
from batchyard.pipeline.tally import Tally
from batchyard.policy.pace import Pace
from batchyard.policy.retry import ALONE_AFTER_CRASHES, REQUEST_TIMEOUT, down_pause, is_overload, is_used_up, wait_for

CRASHES_BEFORE_GIVING_UP = 20
"""Attempts that crash one after another, on top of those of a full engine going down twice."""


class Throttle:
    """Learns from every reply. `allowed` requests may be in flight, none before `hold_until` (the event loop's time).

    `changed` is called when more may be sent than before, or less.
    """

    def __init__(
        self,
        pace: Pace,
        settings: DispatchSettings,
        tally: Tally,
        random: Random,
        now: float,
        changed: Callable[[], object],
    ) -> None:
        self._pacing = Pacing(pace, now)
        self._settings = settings
        self._tally = tally
        self._random = random
        self._changed = changed
        self._overloads = 0  # in a row, with no success between them
        self._down_since: float | None = None
        self._looks = 0  # for the engine, since it is down
        self._crashes = 0  # attempts in a row that a crash ended, with no answer between them
        self.hold_until = 0.0
        self.allowed = tally.limit = pace.limit

    def attempt(self) -> int:
        """The number of an attempt that starts now."""
        return self._pacing.attempt()

    def served(self, now: float, weight: int = 1) -> None:
        """The engine did its work: it is there, and not too full. The attempt counted for so much in flight."""
        self._overloads = self._crashes = 0
        if self._down_since is not None:
            self._reached()
        if self._pacing.answered(now, self._tally.inflight, weight):
            self._set()

    def failed(self, reply: Reply, attempt: int, now: float, weight: int = 1) -> None:
        """The reply to an attempt is no success.

        Raises Unavailable where the engine was out of reach for too long, or will not work for us any more.
        """
        if is_used_up(reply):
            raise _used_up()
        if isinstance(reply, Failure) and reply.fault is Fault.CRASHED:
            self._crashed(reply)
        if isinstance(reply, Failure) and reply.fault is Fault.DOWN:
            self._unreachable(reply, now)
        elif is_overload(reply):
            self._overloaded(reply, attempt, now)
        elif isinstance(reply, Answer):
            self.served(now, weight)
        elif self._down_since is not None:
            self._reached()

    def _crashed(self, reply: Failure) -> None:
        """A line that kills the engine is found out alone; an engine that dies of every line is of no use at all."""
        self._crashes += 1
        if self._crashes >= CRASHES_BEFORE_GIVING_UP + ALONE_AFTER_CRASHES * self._pacing.limit:
            raise _useless(reply, self._crashes)

    def _overloaded(self, reply: Reply, attempt: int, now: float) -> None:
        """Less at once from now on, and nothing for a while: for longer while nothing at all gets through."""
        if self._down_since is not None and not _is_timeout(reply):
            self._reached()
        lowered = self._pacing.overloaded(attempt, self._tally.inflight)
        if lowered or reply.retry_after_seconds is not None:
            pause = wait_for(reply, self._overloads, self._settings, self._random)
            self.hold_until = max(self.hold_until, now + pause)
        if lowered:
            self._overloads += 1
            self._set()

    def _unreachable(self, reply: Failure, now: float) -> None:
        """Look for the engine with one line at a time, now and then, until it is there or our patience ends."""
        if self._down_since is None:
            self._down_since = self._tally.engine_down_since = now
            self._looks = 0
            self._set()
        patience_ends = self._down_since + self._settings.engine_down_seconds
        if now >= patience_ends:
            raise _gone(reply, self._settings.engine_down_seconds)
        if now >= self.hold_until:
            pause = down_pause(reply, self._looks, self._settings, self._random)
            self.hold_until = min(now + pause, patience_ends)
            self._looks += 1

    def _reached(self) -> None:
        self._down_since = self._tally.engine_down_since = None
        self._set()

    def _set(self) -> None:
        self._tally.limit = self._pacing.limit
        self.allowed = 1 if self._down_since is not None else self._pacing.limit
        self._changed()


def _is_timeout(reply: Reply) -> bool:
    return isinstance(reply, Failure) and reply.code == REQUEST_TIMEOUT


def _gone(reply: Failure, seconds: float) -> Unavailable:
    return Unavailable(
        f"The engine could not be reached for {seconds:g} seconds: {reply.message}",
        remedy="All answers so far are kept: bring the engine back and run the same command again to go on.",
    )


def _used_up() -> Unavailable:
    return Unavailable(
        "The upstream says that its quota is used up (insufficient_quota).",
        remedy="All answers so far are kept: mend that with the provider and run the same command again to go on.",
    )


def _useless(reply: Failure, crashes: int) -> Unavailable:
    return Unavailable(
        f"The engine starts but crashes on every line: {crashes} attempts in a row ended so. {reply.message}",
        remedy="All answers so far are kept: try another engine or fewer slots; the same command goes on.",
    )
