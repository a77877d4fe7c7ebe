"""What batches and engines are measured by: counted as they move, and looked at when somebody asks for the page."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from batchyard.clock import Clock
from batchyard.domain.batch import Batch, BatchId, BatchState, Counts
from batchyard.domain.errors import BatchyardError
from batchyard.pipeline.share import Sharing
from batchyard.pipeline.underway import Underway
from batchyard.store import Store
from batchyard.telemetry.metrics import Metrics

OUTCOMES = {"succeeded": "completed", "errored": "failed", "cancelled": "cancelled", "expired": "expired"}
"""Of a line, and the field of a batch's counts that says how many."""

UNENDED = tuple(state for state in BatchState if not state.terminal)
_log = logging.getLogger(__name__)


class Measures:
    """Of one server. `waiting` are the batches that wait for their turn, `sharings` the engines by model."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        underway: Underway,
        waiting: Callable[[], Sequence[Batch]],
        sharings: Callable[[], Mapping[str, Sharing]],
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._underway = underway
        self._waiting = waiting
        self._sharings = sharings
        self._unended: dict[BatchId, Batch] = {}
        self._restarts: Counter[str] = Counter()
        metrics.at_look.append(self.look)

    async def begin(self, store: Store) -> None:
        """Know the batches of an earlier process."""
        try:
            for batch in await store.batches.unended():
                self._unended.setdefault(batch.id, batch)
        except BatchyardError as error:
            _log.warning("batches_not_counted", extra={"reason": str(error)})

    def moved(self, batch: Batch) -> None:
        """A batch came into a state."""
        if not batch.state.terminal:
            self._unended[batch.id] = batch
            return
        self._unended.pop(batch.id, None)
        self._metrics.batches_ended.labels(batch.state).inc()
        self._metrics.batch_seconds.labels(batch.state).observe(max(0, batch.moved_at - batch.created_at))

    def counted(self, before: Batch, after: Batch) -> None:
        """Lines of a batch got results. A count that falls (it is corrected at the end) is left as it was."""
        metrics, model = self._metrics, after.model or "unknown"
        for outcome, field in OUTCOMES.items():
            _grow(metrics.batch_lines.labels(model, outcome).inc, _more(before.counts, after.counts, field))
        for kind in ("input", "output", "cached"):
            grown = getattr(after.usage, f"{kind}_tokens") - getattr(before.usage, f"{kind}_tokens")
            _grow(metrics.tokens.labels(model, "batch", kind).inc, grown)

    def retried(self, model: str, retries: int) -> None:
        """So many requests of a walk that is over were asked again."""
        _grow(self._metrics.retries.labels(model).inc, retries)

    def look(self) -> None:
        """Set everything that is as it is now."""
        self._look_at_batches()
        self._look_at_engines()

    def _look_at_batches(self) -> None:
        metrics, now, waiting = self._metrics, self._clock.now(), self._waiting()
        states = Counter(batch.state for batch in self._unended.values())
        for state in UNENDED:
            metrics.batches.labels(state).set(states[state])
        metrics.batches_waiting.set(len(waiting))
        oldest = min((batch.created_at for batch in waiting), default=now)
        metrics.oldest_waiting.set(max(0.0, now - oldest))
        deadlines = [batch.deadline_at for batch in self._unended.values() if batch.deadline_at is not None]
        metrics.least_slack.set(min(deadlines, default=float("inf")) - now)

    def _look_at_engines(self) -> None:
        metrics, asking = self._metrics, self._underway.asking
        for model, sharing in self._sharings().items():
            tallies = [tally for asked, tally in asking.values() if asked == model]
            metrics.batch_inflight.labels(model).set(sharing.inflight)
            metrics.batch_waiting_requests.labels(model).set(sharing.waiting)
            metrics.throttle.labels(model).set(sum(tally.limit for tally in tallies))
            metrics.engine_up.labels(model).set(all(tally.engine_down_since is None for tally in tallies))
            restarts = sharing.engine.restarts
            _grow(metrics.engine_restarts.labels(model).inc, restarts - self._restarts[model])
            self._restarts[model] = restarts


def _more(before: Counts, after: Counts, field: str) -> int:
    return getattr(after, field) - getattr(before, field)


def _grow(grow: Callable[[float], None], by: int) -> None:
    if by > 0:
        grow(by)
