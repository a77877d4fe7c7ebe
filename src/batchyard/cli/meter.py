"""What the counters of a run say about its speed and its end. Pure: the caller brings the time."""

from collections import deque

from msgspec import Struct

from batchyard.pipeline.tally import Tally

WINDOW_SECONDS = 30.0
"""Speed is that of the recent past: long enough to be steady, short enough to notice a change."""


class View(Struct, frozen=True, kw_only=True):
    """One look at a run.

    `done` of `to_run` lines need nothing more from an engine; lines that repeat another one (`repeated`) are not among
    them, those that cannot run (`invalid`) have their result from the start. Rates are per second, over the last
    `WINDOW_SECONDS` of this run's own work. `most_failures` is the commonest code among failed attempts. `seconds_left`
    is None where nothing has been answered yet.
    """

    stage: str
    done: int
    to_run: int
    resumed: int
    repeated: int
    invalid: int
    inflight: int
    retries: int
    failed: int
    written: int
    most_failures: str
    cached_tokens: int
    lines_per_second: float
    input_tokens_per_second: float
    output_tokens_per_second: float
    bytes_read: int
    bytes_total: int
    bytes_per_second: float
    seconds_left: float | None
    down_seconds: float | None


class _Sample(Struct, frozen=True):
    """The counters at one moment. `own` lines are those of this run: what an earlier one did says nothing of speed."""

    at: float
    own: int
    input_tokens: int
    output_tokens: int
    bytes_read: int


class Meter:
    """Remembers the recent past of one run."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._stage = ""

    def look(self, tally: Tally, now: float) -> View:
        """Take a sample and say how things stand; `now` in seconds of any steady clock."""
        newest = self._sample(tally, now)
        oldest = self._samples[0]
        seconds = newest.at - oldest.at
        lines_per_second = _rate(newest.own - oldest.own, seconds)
        to_run = max(tally.lines - tally.followers, tally.done)
        return View(
            stage=tally.stage,
            done=tally.done,
            to_run=to_run,
            resumed=tally.resumed,
            repeated=tally.followers,
            invalid=tally.invalid,
            inflight=tally.inflight,
            retries=tally.retries,
            failed=tally.errored,
            written=tally.written,
            most_failures=max(tally.failures, key=lambda code: tally.failures[code], default=""),
            cached_tokens=tally.cached_tokens,
            lines_per_second=lines_per_second,
            input_tokens_per_second=_rate(newest.input_tokens - oldest.input_tokens, seconds),
            output_tokens_per_second=_rate(newest.output_tokens - oldest.output_tokens, seconds),
            bytes_read=tally.bytes_read,
            bytes_total=tally.bytes_total,
            bytes_per_second=_rate(newest.bytes_read - oldest.bytes_read, seconds),
            seconds_left=(to_run - tally.done) / lines_per_second if lines_per_second > 0 else None,
            down_seconds=None if tally.engine_down_since is None else max(0.0, now - tally.engine_down_since),
        )

    def _sample(self, tally: Tally, now: float) -> _Sample:
        """A new stage starts a new past."""
        if tally.stage != self._stage:
            self._stage = tally.stage
            self._samples.clear()
        own = tally.succeeded + tally.errored
        sample = _Sample(now, own, tally.input_tokens, tally.output_tokens, tally.bytes_read)
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= now - WINDOW_SECONDS and self._moved(1, sample):
            self._samples.popleft()
        return sample

    def _moved(self, first: int, newest: _Sample) -> bool:
        """Has anything happened since that sample? Where one answer takes minutes, the past must reach back further."""
        then = self._samples[first]
        return newest.own > then.own or newest.bytes_read > then.bytes_read


def _rate(amount: int, seconds: float) -> float:
    return max(0.0, amount / seconds) if seconds > 0 else 0.0
