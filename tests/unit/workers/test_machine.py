import os
from pathlib import Path

from batchyard.workers import machine


def test_a_control_group_may_allow_fewer_cores(tmp_path: Path) -> None:
    ours = len(os.sched_getaffinity(0))
    assert machine.cores(tmp_path) == ours
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores(tmp_path) == ours


def test_a_control_group_may_allow_less_memory(tmp_path: Path) -> None:
    memory = tmp_path / "meminfo"
    memory.write_text("MemTotal: 900 kB\nMemAvailable: 100 kB\n")
    assert machine.free_bytes(tmp_path, memory) == 100 * 1024
    (tmp_path / "memory.max").write_text("50000\n")
    (tmp_path / "memory.current").write_text("20000\n")
    assert machine.free_bytes(tmp_path, memory) == 30000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_bytes(tmp_path, memory) == 100 * 1024


def test_a_machine_that_says_nothing_is_not_guessed_at(tmp_path: Path) -> None:
    assert machine.free_bytes(tmp_path, tmp_path / "none") is None
