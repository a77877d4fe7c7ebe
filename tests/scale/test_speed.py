"""What a line costs at most, in processor time of whole commands, and what a crash costs."""

from pathlib import Path

import pytest

from bench import embeddings, run, validate
from bench.make_lines import Recipe, write_lines
from bench.resume import kill_and_resume
from bench.table import text

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]


def test_five_million_lines_are_checked_within_thirty_seconds_of_one_core(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write_lines(source, Recipe(lines=5_000_000))
    costs = [validate.validate(tmp_path, source) for _ in range(2)]
    source.unlink()
    print([f"{cost.cpu_seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB" for cost in costs])
    assert min(cost.cpu_seconds for cost in costs) <= validate.GOAL_CPU_SECONDS


def test_ten_thousand_lines_a_second_on_one_core_and_a_fraction_of_what_a_plain_script_takes(tmp_path: Path) -> None:
    ours, plain = run.compare(tmp_path, Recipe(lines=200_000), repeats=2)
    print(text([ours, plain]))
    assert ours.lines_per_cpu_second >= 10_000
    assert ours.cpu_us_per_line * 3 <= plain.cpu_us_per_line


def test_a_killed_run_goes_on_within_two_seconds_and_asks_next_to_nothing_twice(tmp_path: Path) -> None:
    ended = kill_and_resume(tmp_path, Recipe(lines=1_000_000))
    print(f"first request after {ended.first_request_seconds:.2f} s, {ended.asked_twice} asked twice")
    assert ended.in_order and not ended.checked_again
    assert ended.lines // 2 <= ended.kept < ended.lines
    assert 0 <= ended.asked_twice <= 10_000  # what came within the last 50 ms, and what was in flight
    assert ended.first_request_seconds <= 2


def test_a_hundred_thousand_embeddings_take_a_thirtieth_of_the_calls_and_less_processor_time(tmp_path: Path) -> None:
    alone, together = embeddings.compare(tmp_path, 100_000, 400, repeats=2)
    print(text([alone, together]), together.notes)
    assert int(together.notes.partition(" ")[0].replace(",", "")) < 100_000 / 30
    assert together.cpu_us_per_line < alone.cpu_us_per_line
