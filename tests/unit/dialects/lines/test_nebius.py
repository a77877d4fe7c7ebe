"""The line format of Nebius' batch service, by golden lines."""

import re

import pytest

from batchyard.dialects.lines import nebius
from batchyard.domain.result import Answer, Failure, Outcome, Reply, Result
from batchyard.endpoints import ENDPOINTS

GOLDEN: list[tuple[Reply, bytes]] = [
    (
        Answer(200, b'{"id": "chatcmpl-9a", "object": "chat.completion"}', "req_5b1f"),
        b'"response": {"id": "chatcmpl-9a", "object": "chat.completion"}, "error": null}\n',
    ),
    (
        Answer(400, b'{"error":{"message":"zu gro\xc3\x9f","code":"too_long"}}'),
        b'"response": null, "error": {"code": "too_long", "message": "zu gro\\u00df"}}\n',
    ),
    (
        Answer(502, b"<html>"),
        b'"response": null, "error": {"code": "502", "message": "<html>"}}\n',
    ),
    (
        Answer(200, b"no JSON"),
        b'"response": null, "error": {"code": "200", "message": "no JSON"}}\n',
    ),
    (
        Failure("request_timeout", "Late."),
        b'"response": null, "error": {"code": "request_timeout", "message": "Late."}}\n',
    ),
]


@pytest.mark.parametrize(("reply", "golden"), GOLDEN)
def test_an_answer_stands_without_a_wrapper(reply: Reply, golden: bytes) -> None:
    dialect = nebius.open(nebius.Config(run_id="run-1", endpoints=ENDPOINTS))
    written = dialect.write(Result(0, "doc-0001", Outcome.SUCCEEDED, reply))
    head = rb'{"id": "batch_req_[0-9a-f]{32}", "custom_id": "doc-0001", '
    assert re.fullmatch(head + re.escape(golden), written)
