"""What has happened so far in a run: counters that stations write and progress reads. One thread writes."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counters of one run.

    `stage` is the station at work. `lines` is the number of lines of the plan, `resumed` those that an earlier run had
    answered, `followers` those that repeat another line's request and take its answer. `succeeded` and `errored` count
    this run's lines, `written` those in the output so far. `bytes_read` of `bytes_total` is the progress of reading the
    input. `engine_restarts` counts the engine's processes that had to be started again. `seconds` says where the time
    went, by station.
    """

    stage: str = "starting"
    bytes_read: int = 0
    bytes_total: int = 0
    lines: int = 0
    resumed: int = 0
    followers: int = 0
    invalid: int = 0
    succeeded: int = 0
    errored: int = 0
    written: int = 0
    retries: int = 0
    inflight: int = 0
    limit: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    engine: str = ""
    engine_restarts: int = 0
    engine_down_since: float | None = None
    failures: dict[str, int] = field(default_factory=dict[str, int])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def done(self) -> int:
        """Lines that need nothing more from an engine."""
        return self.resumed + self.succeeded + self.errored
