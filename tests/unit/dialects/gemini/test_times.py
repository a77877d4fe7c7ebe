"""Times on the Gemini wire."""

import pytest

from batchyard.dialects.gemini.times import timestamp


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "1970-01-01T00:00:00Z"), (1_790_000_000, "2026-09-21T14:13:20Z"), (1.5, "1970-01-01T00:00:01.500000Z")],
)
def test_a_time_is_written_in_utc(seconds: float, written: str) -> None:
    assert timestamp(seconds) == written
