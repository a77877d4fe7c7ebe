import asyncio
import io
import json
import logging

import pytest

from batchyard.telemetry import logs


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.set_up("info", stream)
    return stream


@pytest.fixture
def as_json() -> io.StringIO:
    stream = io.StringIO()
    logs.set_up("info", stream, logs.LogFormat.JSON)
    return stream


def test_an_event_is_one_line_with_its_fields(stream: io.StringIO) -> None:
    logging.getLogger("batchyard.engines.managed").warning("engine_restarted", extra={"engine": "v llm", "attempt": 2})
    assert stream.getvalue().endswith(' WARNING engines.managed engine_restarted engine="v llm" attempt=2\n')


def test_what_is_below_the_level_is_not_shown(stream: io.StringIO) -> None:
    logging.getLogger("batchyard.x").debug("detail")
    assert stream.getvalue() == ""


def test_a_cause_comes_with_its_trace(stream: io.StringIO) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("batchyard.x").exception("failed")
    assert "Traceback" in stream.getvalue() and "ValueError: why" in stream.getvalue()


def test_an_event_is_an_object_of_its_own(as_json: io.StringIO) -> None:
    logging.getLogger("batchyard.x").info("began", extra={"text": 'a "quoted"\nline', "count": 2})
    event = json.loads(as_json.getvalue())
    assert as_json.getvalue().count("\n") == 1
    assert (event["level"], event["logger"], event["event"]) == ("info", "batchyard.x", "began")
    assert (event["text"], event["count"]) == ('a "quoted"\nline', 2)
    assert event["time"].endswith("+00:00")


def test_a_cause_stands_in_the_object(as_json: io.StringIO) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("batchyard.x").exception("failed")
    assert "ValueError: why" in json.loads(as_json.getvalue())["exception"]


def test_trouble_of_the_web_server_is_shown_in_the_same_form(as_json: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.error").error("broken")
    assert json.loads(as_json.getvalue())["event"] == "broken"


async def test_events_say_what_they_belong_to(as_json: io.StringIO) -> None:
    log = logging.getLogger("batchyard.x")

    async def inside(id: str) -> None:
        with logs.about(request_id=id):
            logs.note(project="ours")
            await asyncio.sleep(0)
            log.info("asked", extra={"own": id})

    async with asyncio.TaskGroup() as group:
        group.create_task(inside("r1"))
        group.create_task(inside("r2"))
    logs.note(nothing="is noted outside")
    log.info("outside")
    events = [json.loads(line) for line in as_json.getvalue().splitlines()]
    assert [(each.get("request_id"), each.get("own"), each.get("project")) for each in events] == [
        ("r1", "r1", "ours"),
        ("r2", "r2", "ours"),
        (None, None, None),
    ]
    assert "nothing" not in events[-1]


def test_what_an_event_says_itself_goes_before(as_json: io.StringIO) -> None:
    with logs.about(batch_id="outer", event="never"):
        logging.getLogger("batchyard.x").info("said", extra={"batch_id": "inner"})
    event = json.loads(as_json.getvalue())
    assert (event["batch_id"], event["event"]) == ("inner", "said")
