"""The lines of `vllm run-batch`, by golden lines."""

import json
import re

import pytest

from batchyard.dialect import LineDialect
from batchyard.dialects.lines import vllm
from batchyard.domain.line import Line, LineError
from batchyard.domain.result import Answer, Failure, Fault, Outcome, Reply, Result
from batchyard.endpoints import ENDPOINTS
from tests.support.request_lines import CHAT, a_body, a_line, as_line


def dialect() -> LineDialect:
    endpoints = {path: ENDPOINTS[path] for path in (CHAT, "/v1/embeddings")}
    return vllm.open(vllm.Config(run_id="r", endpoints=endpoints, models=frozenset({"m"}), default_model="m"))


def shape(line: bytes) -> bytes:
    return re.sub(rb"[0-9a-f]{16}", b"<16>", line)


def refused(line: bytes) -> bytes:
    found = dialect().read(3, line)
    assert isinstance(found, Result)
    assert (found.line, found.outcome) == (-1, Outcome.ERRORED)
    return shape(dialect().write(found))


def head(status: int, body: bytes = b"null") -> bytes:
    return (
        b'{"id":"vllm-<16>","custom_id":"a","response":{"status_code":%d,"request_id":"vllm-batch-<16>","body":%s},'
        b'"error":' % (status, body)
    )


@pytest.mark.parametrize(
    ("reply", "golden"),
    [
        (Answer(200, b'{"id":"x"}', "ignored"), head(200, b'{"id":"x"}') + b"null}\n"),
        (Answer(400, b'{"error":{"message":"no"}}'), head(400) + b'{"error":{"message":"no"}}}\n'),
        (
            Answer(502, b"Bad gateway"),
            head(502) + b'{"error":{"message":"Bad gateway","type":"InternalServerError","param":null,"code":502}}}\n',
        ),
        (
            Failure("engine_unreachable", "Gone.", Fault.DOWN),
            head(503) + b'{"error":{"message":"Gone.","type":"ServiceUnavailableError","param":null,"code":503}}}\n',
        ),
        (
            Failure("request_timeout", "Late."),
            head(500) + b'{"error":{"message":"Late.","type":"InternalServerError","param":null,"code":500}}}\n',
        ),
    ],
)
def test_a_result_is_written_as_vllm_writes_it(reply: Reply, golden: bytes) -> None:
    outcome = Outcome.SUCCEEDED if isinstance(reply, Answer) and reply.ok else Outcome.ERRORED
    assert shape(dialect().write(Result(0, "a", outcome, reply))) == golden


def test_an_unsupported_url_is_answered() -> None:
    told = b"URL /v1/x is not a supported endpoint. Supported endpoints: /v1/chat/completions, /v1/embeddings"
    assert refused(a_line(url="/v1/x")) == head(400) + b'"' + told + b'"}\n'


@pytest.mark.parametrize("stream", [True, "True"])
def test_a_stream_line_is_answered(stream: object) -> None:
    assert refused(a_line(stream=stream)) == head(400) + b'"Request must not be sent in stream mode"}\n'


def test_an_unknown_model_is_answered() -> None:
    error = (
        b'{"error":{"message":"The model `other` does not exist.","type":"NotFoundError","param":"model","code":404}}'
    )
    assert refused(a_line(model="other")) == head(404) + error + b"}\n"


@pytest.mark.parametrize("line", [b"{", b"{}", a_line(messages=5), as_line("a", a_body(n="x")), as_line(5, a_body())])
def test_a_malformed_line_stops_the_run(line: bytes) -> None:
    found = dialect().read(3, line)
    assert isinstance(found, LineError)
    assert found.message.startswith("Invalid request on line 3: ")


def test_a_malformed_line_can_become_an_error_line() -> None:
    found = dialect().read(3, a_line("a", messages=5))
    assert isinstance(found, LineError)
    line = json.loads(dialect().write(dialect().error(found)))
    assert line["response"]["status_code"] == 400
    assert line["error"]["error"]["param"] == "body.messages"


def test_the_method_and_the_model_may_be_missing_or_odd() -> None:
    found = dialect().read(1, as_line("a", {"messages": []}, method="GET"))
    assert isinstance(found, Line) and found.model == "m"


def test_ids_may_repeat() -> None:
    assert not dialect().unique_ids
