"""Traces: which step of a call or of a batch took how long, for whoever gathers them by OpenTelemetry.

Off until `set_up` has found both a place to send them to and the extra `otel`; until then nothing of it is imported,
and a span costs a function call. Modules say `with traces.span("batch.validate"):` and know nothing of who listens.
"""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from batchyard import __version__

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
ONE_IN: Final = 100
"""Of so many batch requests to engines one is traced."""

FLUSH_MILLISECONDS: Final = 5000

Note = Callable[[str, object], None]
"""Says one more thing of a span: a name and a value."""


class _Tracing:
    """What `use` has begun. `tracer` None: nobody listens."""

    def __init__(self) -> None:
        self.tracer: Any = None
        self.provider: Any = None
        self.numbers = count()


_tracing = _Tracing()


def wanted() -> bool:
    """Whether the environment names a place to send traces to."""
    return any(os.environ.get(name) for name in ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED", "") != "true"


def set_up(endpoint: str | None = None) -> bool:
    """Send traces from now on: to a base URL for OTLP over HTTP, None: where the environment says.

    False where the extra `otel` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return False
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "batchyard"})
    provider = TracerProvider(resource=resource)
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    use(provider)
    return True


def use(provider: Any) -> None:
    """Give spans to a provider of OpenTelemetry's SDK; None: to nobody any more."""
    _tracing.provider = provider
    _tracing.tracer = None if provider is None else provider.get_tracer("batchyard", __version__)
    _tracing.numbers = count()


def close() -> None:
    """Send what is left, for some seconds at most. Blocks."""
    provider = _tracing.provider
    use(None)
    if provider is not None:
        provider.force_flush(FLUSH_MILLISECONDS)
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: object) -> Generator[Note]:
    """A step, inside whichever is under way. Of what fails only its kind is noted: a message may be private."""
    tracer = _tracing.tracer
    if tracer is None:
        yield _ignore
        return
    with _open(tracer, name, _named(attributes), None, "INTERNAL") as note:
        yield note


@contextmanager
def call(method: str, headers: Mapping[str, str]) -> Generator[Note]:
    """A call at our doors; part of the caller's trace where it names one (`traceparent`)."""
    tracer = _tracing.tracer
    if tracer is None:
        yield _ignore
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    parent = TraceContextTextMapPropagator().extract(carrier)
    with _open(tracer, method, {"http.request.method": method}, parent, "SERVER") as note:
        yield note


@contextmanager
def request(model: str | None, endpoint: str, *, sampled: bool) -> Generator[None]:
    """A request to an engine; with `sampled` only one of many."""
    tracer = _tracing.tracer
    if tracer is None or (sampled and next(_tracing.numbers) % ONE_IN):
        yield
        return
    attributes = {"gen_ai.request.model": model or "", "batchyard.endpoint": endpoint}
    with _open(tracer, "engine.request", attributes, None, "CLIENT"):
        yield


@contextmanager
def _open(tracer: Any, name: str, attributes: Mapping[str, object], parent: Any, kind: str) -> Generator[Note]:
    from opentelemetry.trace import SpanKind, Status, StatusCode

    with tracer.start_as_current_span(
        name, parent, SpanKind[kind], attributes, record_exception=False, set_status_on_exception=False
    ) as opened:

        def note(name: str, value: object) -> None:
            if name == "name":
                opened.update_name(str(value))
            else:
                opened.set_attribute(name, value)

        try:
            yield note
        except Exception as error:
            opened.set_attribute("error.type", type(error).__name__)
            opened.set_status(Status(StatusCode.ERROR))
            raise


def _named(attributes: Mapping[str, object]) -> dict[str, object]:
    return {f"batchyard.{name}": value for name, value in attributes.items() if value is not None}


def _ignore(name: str, value: object) -> None:
    """Nobody listens."""
