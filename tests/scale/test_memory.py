"""Memory stays flat: at most 64 MB and 24 bytes per line, in the whole command, whatever the lines are."""

from pathlib import Path

import pytest

from bench.make_lines import Recipe
from bench.scale import row, run_batch

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]

SIZES = (
    pytest.param(Recipe(lines=10_000), id="10 thousand lines of 2 KB"),
    pytest.param(Recipe(lines=1_000_000), id="1 million lines of 2 KB"),
    pytest.param(Recipe(lines=5_000_000, line_bytes=300), id="5 million short lines"),
    pytest.param(Recipe(lines=5_000_000), id="5 million lines of 2 KB, 10 GB"),
    pytest.param(Recipe(lines=1_000_000, line_bytes=400, repeats=0.9), id="1 million lines, most of them repeated"),
    pytest.param(Recipe(lines=30_000, line_bytes=300, bad=1.0), id="30 thousand lines that cannot run"),
    pytest.param(Recipe(lines=1_000_000, line_bytes=300, bad=1.0), id="1 million lines that cannot run"),
)


@pytest.mark.parametrize("recipe", SIZES)
def test_a_run_stays_below_64_megabytes_and_24_bytes_per_line(recipe: Recipe, tmp_path: Path) -> None:
    scaled = run_batch(tmp_path, recipe)
    print(row(scaled))
    assert scaled.output_lines == recipe.lines
    assert scaled.cost.peak_bytes <= scaled.allowed_bytes
