"""Large batches on Gemini's wire: a hundred thousand embeddings, twenty megabytes in one call, a file of half a
gigabyte."""

from pathlib import Path

import pytest

from bench import gemini
from bench.api import MB

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]


def test_a_hundred_thousand_embeddings_are_asked_in_calls_as_large_as_the_engine_takes(tmp_path: Path) -> None:
    measured = gemini.embeddings(tmp_path, 100_000)
    print(measured.report())
    assert measured.in_order and 0 < measured.upstream_calls < 100_000 / 30


def test_twenty_megabytes_of_requests_come_in_one_call_and_go_back_in_one(tmp_path: Path) -> None:
    measured = gemini.inline(tmp_path, 19 << 20)
    print(measured.report())
    assert measured.in_order and measured.rows > 30_000


def test_half_a_gigabyte_of_rows_is_answered_in_memory_that_does_not_grow(tmp_path: Path) -> None:
    measured = gemini.file(tmp_path, 500 * MB)
    print(measured.report())
    assert measured.in_order and measured.server_peak <= 200 * MB
