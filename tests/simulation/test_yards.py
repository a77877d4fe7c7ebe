"""A sample of seeds of servers with many batches, killed, stopped and starved of disk and engine."""

import pytest

from tests.simulation.yard import simulate_yard


@pytest.mark.parametrize("first", range(0, 120, 10))
def test_every_batch_ends_right_whatever_kills_the_server(first: int) -> None:
    assert sum(simulate_yard(seed)[1] for seed in range(first, first + 10)), "nobody took over what was examined"
