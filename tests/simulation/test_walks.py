"""A thousand seeds of whole walks; `python -m tests.simulation` runs any number. A failing one says how to replay."""

import pytest

from tests.simulation.walk import simulate

SEEDS = 1000
PART = 50


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_walks_keep_their_promises_whatever_happens(first: int) -> None:
    for seed in range(first, first + PART):
        try:
            simulate(seed)
        except Exception as error:
            error.add_note(f"replay it: python -m tests.simulation --seed {seed} --trace")
            raise
