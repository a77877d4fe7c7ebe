"""Traces of calls and batches of a live server: in memory, and as a collector gets them over HTTP."""

import asyncio
import gzip
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from batchyard.telemetry import traces
from tests.support.serving import MODEL, live
from tests.wire.openai.test_walks import WALKS, a_line, create, ended, jsonl

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_a_batch_is_traced_from_station_to_station() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.use(provider)
    try:
        async with live(walks=WALKS) as server, server.client() as client:
            batch = await create(client, jsonl(a_line("a"), a_line("b")))
            await ended(client, batch.id)
            message: Any = {"role": "user", "content": "hi"}
            await client.chat.completions.create(
                model=MODEL, messages=[message], extra_headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}
            )
    finally:
        traces.close()
    found = exporter.get_finished_spans()
    spans: dict[str, Any] = {span.name: span for span in found}
    walk = spans["batch.walk"]
    assert walk.attributes["batchyard.batch_id"] == batch.id
    stations = [
        span for span in exporter.get_finished_spans() if span.parent and span.parent.span_id == walk.context.span_id
    ]
    assert [span.name for span in stations] == ["batch.validate", "batch.dispatch", "batch.finalize", "batch.publish"]
    asked = spans["POST /chat/completions"]
    assert f"{asked.context.trace_id:032x}" == TRACE and f"{asked.parent.span_id:016x}" == PARENT
    assert asked.attributes["http.response.status_code"] == 200
    requests = [span for span in found if span.name == "engine.request"]
    dispatch = next(span for span in stations if span.name == "batch.dispatch").context
    assert dispatch is not None
    parents = {asked.context.span_id, dispatch.span_id}
    assert {span.parent and span.parent.span_id for span in requests} == parents


@contextmanager
def collector() -> Generator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A receiver of OTLP over HTTP."""
    got: list[ExportTraceServiceRequest] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            got.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_collector_gets_the_spans_of_calls() -> None:
    with collector() as (url, got):
        assert traces.set_up(url)
        async with live() as server, server.client() as client:
            await client.models.list()
        await asyncio.to_thread(traces.close)
    spans = [
        span for each in got for group in each.resource_spans for scope in group.scope_spans for span in scope.spans
    ]
    assert "GET /models" in [span.name for span in spans]
    names = {each.key: each.value.string_value for group in got[0].resource_spans for each in group.resource.attributes}
    assert names["service.name"] == "batchyard"
