"""What the server measures: every metric is one line here, in a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_LONG_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 48 * 3600, 168 * 3600)


class Metrics:
    """Counters and gauges of one process. Labels are bounded: routes, models and states, never ids or projects.

    Counters grow where things happen, in steps of whole groups of lines; gauges are set when somebody looks.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.at_look: list[Callable[[], None]] = []

        # Calls
        self.http_requests = Counter(
            "batchyard_http_requests_total", "Answered calls.", ("route", "method", "status"), registry=registry
        )
        self.http_seconds = Histogram(
            "batchyard_http_request_seconds", "From a call's first byte to its answer's last.", ("route",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.listeners = Gauge("batchyard_event_listeners", "Open streams of events.", registry=registry)
        self.upload_bytes = Counter("batchyard_upload_bytes_total", "Bytes of uploaded files.", registry=registry)
        self.ready = Gauge("batchyard_ready", "1 while the server takes work.", registry=registry)

        # Requests of people
        self.interactive_inflight = Gauge(
            "batchyard_interactive_inflight", "Interactive requests that wait for an engine now.", registry=registry
        )
        self.interactive_replies = Counter(
            "batchyard_interactive_replies_total", "Ended interactive requests.", ("model", "endpoint", "outcome"),
            registry=registry,
        )  # fmt: skip
        self.tokens = Counter(
            "batchyard_tokens_total", "Tokens that engines counted.", ("model", "mode", "kind"), registry=registry
        )

        # Batches
        self.batches = Gauge("batchyard_batches", "Batches that have not ended.", ("state",), registry=registry)
        self.batches_waiting = Gauge(
            "batchyard_batches_waiting", "Batches that wait for their turn to walk.", registry=registry
        )
        self.oldest_waiting = Gauge(
            "batchyard_oldest_waiting_batch_seconds", "Age of the oldest batch that waits; 0 where none does.",
            registry=registry,
        )  # fmt: skip
        self.least_slack = Gauge(
            "batchyard_least_slack_seconds", "Least time left to a batch's deadline; +Inf where none has one.",
            registry=registry,
        )  # fmt: skip
        self.batches_ended = Counter(
            "batchyard_batches_ended_total", "Batches that came into a last state.", ("state",), registry=registry
        )
        self.batch_seconds = Histogram(
            "batchyard_batch_seconds", "From a batch's creation to its end.", ("state",), buckets=_LONG_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.batch_lines = Counter(
            "batchyard_batch_lines_total",
            "Lines of batches that have a result.",
            ("model", "outcome"),
            registry=registry,
        )
        self.batch_inflight = Gauge(
            "batchyard_batch_inflight", "Batch requests that an engine works on now.", ("model",), registry=registry
        )
        self.batch_waiting_requests = Gauge(
            "batchyard_batch_waiting_requests", "Batch requests that wait for room in an engine.", ("model",),
            registry=registry,
        )  # fmt: skip
        self.throttle = Gauge(
            "batchyard_batch_pace", "Batch requests that may be in flight, as the pace has found.", ("model",),
            registry=registry,
        )  # fmt: skip
        self.retries = Counter(
            "batchyard_batch_retries_total", "Batch requests that were asked again.", ("model",), registry=registry
        )
        self.journal_seconds = Histogram(
            "batchyard_journal_commit_seconds", "Making a group of results safe.", buckets=_SECONDS, registry=registry
        )

        # Engines
        self.engine_up = Gauge(
            "batchyard_engine_up", "0 while a batch finds the engine out of reach.", ("model",), registry=registry
        )
        self.engine_restarts = Counter(
            "batchyard_engine_restarts_total", "Processes of an engine that were started again.", ("model",),
            registry=registry,
        )  # fmt: skip

    def page(self) -> bytes:
        """All of it in Prometheus' text form."""
        for look in self.at_look:
            look()
        return generate_latest(self.registry)
