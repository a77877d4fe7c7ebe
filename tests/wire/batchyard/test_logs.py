"""What a server says of its calls and batches in its logs."""

import logging
from typing import Any

import pytest

from batchyard.telemetry import logs
from tests.support.serving import MODEL, Live, live
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, ended, jsonl


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.getMessage() == name]


async def test_the_life_of_a_batch_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "batchyard")
    async with live(script=Gate(), walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(a_line("a"), a_line("b", "bad")))
        await ended(client, batch.id)
    for name in ("batch_created", "batch_in_progress", "batch_finalizing"):
        assert [event["batch_id"] for event in events(caplog, name)] == [batch.id]
    (end,) = events(caplog, "batch_completed")
    assert (end["lines_total"], end["lines_completed"], end["lines_failed"]) == (2, 1, 1)
    assert (end["batch_id"], end["model"], end["project"]) == (batch.id, MODEL, "proj_home")
    assert end["seconds"] >= 0 and end["key_id"].startswith("key")


async def said(server: Live, name: str, seen: list[str]) -> tuple[str, str]:
    """One call with a name of its caller's: the id of its answer, and the event as it is written."""
    _, headers, _ = await server.call("GET", "/v1/models", headers={"x-request-id": name})
    return headers["x-request-id"], next(line for line in seen if "event" in line and headers["x-request-id"] in line)


async def test_a_call_is_logged_with_its_caller_and_without_secrets() -> None:
    seen: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(logs.JsonFormatter().format(record))

    logger, kept = logging.getLogger("batchyard"), Kept()
    before = logger.level
    logger.addHandler(kept)
    logger.setLevel("DEBUG")
    try:
        async with live() as server:
            ours, line = await said(server, "trace-7", seen)
            assert ours.startswith("req_") and '"client_request_id": "trace-7"' in line
            assert '"project": "proj_home"' in line and '"key_id": "key' in line
            _, line = await said(server, "a b\tc\xe4" + "x" * 500, seen)
            assert '"client_request_id": "a?b?c?' in line and "x" * 130 not in line
            assert server.secret not in "".join(seen)
    finally:
        logger.removeHandler(kept)
        logger.setLevel(before)
