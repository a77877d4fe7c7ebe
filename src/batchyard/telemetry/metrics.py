"""What the server measures: every metric is one line here, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters and gauges of one process. Labels are bounded: routes, models and states, never ids or projects."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.http_requests = Counter(
            "batchyard_http_requests_total", "Answered calls.", ("route", "method", "status"), registry=registry
        )
        self.http_seconds = Histogram(
            "batchyard_http_request_seconds", "From a call's first byte to its answer's last.", ("route",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
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
        self.upload_bytes = Counter("batchyard_upload_bytes_total", "Bytes of uploaded files.", registry=registry)
        self.ready = Gauge("batchyard_ready", "1 while the server takes work.", registry=registry)

    def page(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self.registry)
