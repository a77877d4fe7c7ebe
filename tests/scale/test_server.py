"""How quickly a server answers while batches run, and what very many small ones cost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.served import Served, served
from bench.server import beside_a_batch, idle, many_at_once, small_batches, some_lines

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as server:
        yield server


def test_status_calls_are_answered_within_five_milliseconds_beside_a_batch_that_never_waits(server: Served) -> None:
    alone, cpu_us = idle(server, 1000)
    watched = beside_a_batch(server, some_lines(200_000, 500))
    print(f"alone  {alone}, {cpu_us:.0f} us CPU\nbeside {watched.all}")
    assert watched.by_state["in_progress"].p50 < 5
    assert watched.all.p99 - alone.p99 < 5, "what a busy machine adds, it adds to both"
    assert cpu_us < 500


def test_ten_thousand_batches_of_ten_lines_cost_a_few_syncs_each(server: Served) -> None:
    batches = 10_000
    used = small_batches(server, batches)
    print(used)
    assert used.syncs / batches <= 10, "four of its own; the others are shared where the disk is what is waited for"
    assert used.cpu_seconds / batches <= 0.02
    assert used.peak_bytes < 200e6


def test_five_hundred_batches_at_once_all_get_on(server: Served) -> None:
    spread = many_at_once(server, 500, 400)
    print(spread)
    assert spread.at_once >= 400
    assert spread.first_latest < 0.5
    assert spread.idle_longest < 0.5
