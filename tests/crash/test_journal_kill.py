"""kill -9 of a real process that writes a journal: what it said is safe is there, and nothing is there in part."""

import subprocess
import sys
from pathlib import Path
from random import Random

from batchyard.disks.local import LocalDisk
from batchyard.journals.disk import open_journal
from batchyard.offload import ThreadOffload
from tests.support.results import a_result

LINES = 100_000
KILLS = 8


async def test_results_that_were_safe_before_a_kill_are_there_after_it(tmp_path: Path) -> None:
    folder, random, safe = str(tmp_path / "journal"), Random(11), -1
    for kill in range(KILLS):
        told = _write_until_killed(folder, group=random.choice((1, 7, 300)), flushes=random.randrange(1, 40))
        assert told > safe, f"kill {kill}: the writer did not go on from where it was"
        safe = told
        await _check(folder, safe)


def _write_until_killed(folder: str, group: int, flushes: int) -> int:
    """Kill a writer somewhere after so many flushes; the last line that it called safe."""
    command = [sys.executable, "-m", "tests.crash.journal_writer", folder, str(LINES), str(group)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(flushes)]
        writer.kill()
        told += writer.stdout.read().splitlines(keepends=True)
    assert writer.returncode == -9
    return int(next(line for line in reversed(told) if line.endswith("\n")))


async def _check(folder: str, safe: int) -> None:
    offload = ThreadOffload()
    journal = await open_journal(LocalDisk(), offload, folder, LINES)
    places = sorted(journal.places())
    assert places[: safe + 1] == list(range(safe + 1))
    assert list(journal.replay(iter(places))) == [a_result(place) for place in places]
    await journal.close()
    offload.close()
