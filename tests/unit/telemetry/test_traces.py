"""Traces: off, on, and over a real wire."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from batchyard.telemetry import traces


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.use(provider)
    yield exporter
    traces.close()


def named(spans: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_without_listeners_nothing_is_imported() -> None:
    program = (
        "import sys; from batchyard.telemetry import traces\n"
        "with traces.span('a', b=1) as say, traces.call('GET', {}), traces.request('m', '/v1', sampled=True):\n"
        "    say('c', 2)\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_steps_stand_inside_each_other_in_tasks_too(spans: InMemorySpanExporter) -> None:
    async def inner(name: str) -> None:
        with traces.span(name):
            await asyncio.sleep(0)

    with traces.span("outer", batch_id="batch_1", model=None):
        async with asyncio.TaskGroup() as group:
            group.create_task(inner("one"))
            group.create_task(inner("two"))
    found = named(spans)
    assert dict(found["outer"].attributes) == {"batchyard.batch_id": "batch_1"}
    assert found["one"].parent.span_id == found["two"].parent.span_id == found["outer"].context.span_id


def test_what_fails_is_noted_by_its_kind_only(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError), traces.span("step"):
        raise ValueError("what is private")
    step = named(spans)["step"]
    assert step.attributes["error.type"] == "ValueError" and not step.status.is_ok
    assert "private" not in step.to_json()


def test_one_of_many_requests_is_traced(spans: InMemorySpanExporter) -> None:
    for _ in range(2 * traces.ONE_IN):
        with traces.request("m", "/v1/chat/completions", sampled=True):
            pass
    with traces.request("m", "/v1/chat/completions", sampled=False):
        pass
    assert [span.name for span in spans.get_finished_spans()] == ["engine.request"] * 3


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_environment_says_whether_traces_are_wanted(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool
) -> None:
    for name in (*traces.ENDPOINTS, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert traces.wanted() == wanted


def test_without_the_extra_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert not traces.set_up("http://127.0.0.1:1")
