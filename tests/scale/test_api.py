"""A large batch through the API of a real server: `BATCHYARD_SCALE_GB=10` for five million lines of 2 KB."""

import os
from pathlib import Path

import pytest

from bench.api import GB, MB, bench, report

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]

LINE_BYTES = 2000
GIGABYTES = float(os.environ.get("BATCHYARD_SCALE_GB", "1"))


def test_a_large_batch_passes_within_its_memory_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    with bench(tmp_path, int(GIGABYTES * GB / LINE_BYTES), LINE_BYTES) as made:
        measured = made.run(kill=True)
    print(report(measured))
    assert measured.output_lines == measured.lines and measured.ranges_agree
    assert measured.together_peak <= 200 * MB
    assert measured.steps["upload"].cpu_per_gb <= 2.5  # 1.5 where nothing else runs beside it
    assert measured.create_seconds <= 1
    assert measured.listening_seconds is not None and measured.listening_seconds <= 2
