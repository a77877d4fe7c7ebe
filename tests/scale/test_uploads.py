"""A file as large as Gemini's inputs may be, chunk by chunk, with its connection cut half way."""

from pathlib import Path

import pytest

from bench.api import GB, MB
from bench.uploads import upload

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]


def test_two_gigabytes_in_chunks_are_written_once_in_memory_that_does_not_grow(tmp_path: Path) -> None:
    sent = upload(tmp_path, 2 * GB)
    print(sent.report())
    assert sent.kept_bytes == 2 * GB
    assert sent.cut_at - (8 << 20) <= sent.received_at_cut <= sent.cut_at
    assert sent.server_peak <= 200 * MB
    assert sent.cpu_per_gb <= 2.5  # 2.9 beside ten processes ready to run, where a form takes 3.3
