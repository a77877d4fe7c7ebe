"""The line format of the OpenAI batch service, by golden lines."""

import json
import re

import pytest

from batchyard.dialect import LineDialect
from batchyard.dialects.lines import openai
from batchyard.domain.line import LineError
from batchyard.domain.result import Answer, Failure, Outcome, Reply, Result
from batchyard.endpoints import ENDPOINTS
from tests.support.request_lines import a_line


def dialect(run_id: str = "run-1") -> LineDialect:
    return openai.open(openai.Config(run_id=run_id, endpoints=ENDPOINTS))


def a_result(reply: Reply, line: int = 0, custom_id: str | None = "doc-0001") -> Result:
    outcome = Outcome.SUCCEEDED if isinstance(reply, Answer) and reply.ok else Outcome.ERRORED
    return Result(line, custom_id, outcome, reply)


GOLDEN = [
    (
        Answer(200, b'{"id": "chatcmpl-77a", "object": "chat.completion"}', "req_5b1f"),
        b'{"id": "batch_req_<32>", "custom_id": "doc-0001", "response": {"status_code": 200, "request_id": "req_5b1f", '
        b'"body": {"id": "chatcmpl-77a", "object": "chat.completion"}}, "error": null}\n',
    ),
    (
        Answer(400, b'{"error":{"message":"zu gro\xc3\x9f"}}'),
        b'{"id": "batch_req_<32>", "custom_id": "doc-0001", "response": {"status_code": 400, "request_id": "req_<32>", '
        b'"body": {"error":{"message":"zu gro\\u00df"}}}, "error": null}\n',
    ),
    (
        Answer(502, b"<html>\nBad gateway \xff", "r"),
        b'{"id": "batch_req_<32>", "custom_id": "doc-0001", "response": {"status_code": 502, "request_id": "r", '
        b'"body": {"error": {"message": "<html>\\nBad gateway \\ufffd", "type": "server_error", "param": null, '
        b'"code": null}}}, "error": null}\n',
    ),
    (
        Failure("request_timeout", "No answer within 600 seconds."),
        b'{"id": "batch_req_<32>", "custom_id": "doc-0001", "response": null, "error": {"code": "request_timeout", '
        b'"message": "No answer within 600 seconds."}}\n',
    ),
]


@pytest.mark.parametrize(("reply", "golden"), GOLDEN)
def test_a_result_is_written_as_the_service_writes_it(reply: Reply, golden: bytes) -> None:
    line = dialect().write(a_result(reply))
    assert re.sub(rb"[0-9a-f]{32}", b"<32>", line) == golden


def test_names_are_drawn_from_the_run_and_the_place() -> None:
    answer = a_result(Answer(200, b"{}"))
    again, elsewhere = dialect().write(answer), dialect().write(a_result(Answer(200, b"{}"), line=1))
    assert dialect().write(answer) == again
    assert len({again, elsewhere, dialect("run-2").write(answer)}) == 3
    assert json.loads(again)["id"].removeprefix("batch_req_") not in json.loads(again)["response"]["request_id"]


def test_an_error_line_tells_the_fault_and_the_remedy() -> None:
    found = dialect().read(4, a_line("x", stream=True))
    assert isinstance(found, LineError)

    result = dialect().error(found)
    line = json.loads(dialect().write(result))

    assert (result.custom_id, result.outcome, line["response"]) == ("x", Outcome.ERRORED, None)
    assert line["error"]["code"] == "streaming_unsupported"
    assert "Remove 'stream'" in line["error"]["message"]


def test_a_line_without_an_id_has_a_null_one() -> None:
    error = LineError(number=1, code="invalid_json_line", message="Line is not valid JSON.")
    assert json.loads(dialect().write(dialect().error(error)))["custom_id"] is None
