import io
import logging
from collections.abc import Iterator

import pytest

from batchyard.telemetry import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    logger = logging.getLogger(logs.ROOT)
    before = (logger.handlers[:], logger.level, logger.propagate)
    stream = io.StringIO()
    logs.set_up("info", stream)
    yield stream
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


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
