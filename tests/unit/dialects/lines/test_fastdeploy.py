"""The lines of `fastdeploy run-batch`, by golden lines."""

import re

import pytest

from batchyard.dialect import LineDialect
from batchyard.dialects.lines import fastdeploy
from batchyard.domain.line import LineError
from batchyard.domain.result import Answer, Failure, Outcome, Reply, Result
from batchyard.endpoints import ENDPOINTS
from tests.support.request_lines import CHAT, a_line


def dialect() -> LineDialect:
    config = fastdeploy.Config(run_id="r", endpoints={CHAT: ENDPOINTS[CHAT]}, default_model="default")
    return fastdeploy.open(config)


def shape(line: bytes) -> bytes:
    return re.sub(rb"[0-9a-f]{32}", b"<32>", line)


def head(status: int, body: bytes = b"null") -> bytes:
    return (
        b'{"id":"fastdeploy-<32>","custom_id":"a","response":{"status_code":%d,"request_id":"fastdeploy-batch-<32>",'
        b'"body":%s},"error":' % (status, body)
    )


@pytest.mark.parametrize(
    ("reply", "golden"),
    [
        (Answer(200, b'{"id":"x"}'), head(200, b'{"id":"x"}') + b"null}\n"),
        (Answer(404, b'{"error":{"message":"no"}}'), head(400) + b'{"error":{"message":"no"}}}\n'),
        (Failure("request_timeout", "Late."), head(400) + b'"Request processing failed: Late."}\n'),
    ],
)
def test_a_result_is_written_as_fastdeploy_writes_it(reply: Reply, golden: bytes) -> None:
    outcome = Outcome.SUCCEEDED if isinstance(reply, Answer) and reply.ok else Outcome.ERRORED
    assert shape(dialect().write(Result(0, "a", outcome, reply))) == golden


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (a_line(url="/v1/embeddings"), b"URL /v1/embeddings was used. Supported endpoints: /v1/chat/completions"),
        (a_line(stream=True), b"Request must not be sent in stream mode"),
    ],
)
def test_a_line_that_cannot_be_served_is_answered(line: bytes, told: bytes) -> None:
    found = dialect().read(1, line)
    assert isinstance(found, Result)
    assert shape(dialect().write(found)) == head(400) + b'"' + told + b'"}\n'


def test_a_malformed_line_stops_the_run() -> None:
    assert isinstance(dialect().read(1, b'{"custom_id":"a"}'), LineError)
