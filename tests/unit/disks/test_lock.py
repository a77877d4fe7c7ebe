"""One process at a time in a folder."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.disks.lock import FolderLock
from batchyard.domain.errors import Conflict

HOLD = """
import sys
from batchyard.disks.lock import FolderLock
with FolderLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_told_so(tmp_path: Path) -> None:
    with FolderLock(str(tmp_path / "run")), pytest.raises(Conflict), FolderLock(str(tmp_path / "run")):
        pass


def test_it_can_be_held_again_and_again_also_where_the_folder_was_removed_meanwhile(tmp_path: Path) -> None:
    lock = FolderLock(str(tmp_path / "run"))
    with lock:
        pass
    with lock:
        shutil.rmtree(tmp_path / "run")
    with lock, pytest.raises(Conflict), FolderLock(str(tmp_path / "run")):
        pass


def test_who_waited_at_a_lock_that_was_removed_does_not_hold_it(tmp_path: Path) -> None:
    """A removed file can still be locked by who had opened it; that must not count."""
    folder = str(tmp_path / "run")
    with FolderLock(folder):
        Path(folder, "lock").unlink()
        with FolderLock(folder), pytest.raises(Conflict), FolderLock(folder):
            pass


def test_it_ends_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Conflict), FolderLock(str(tmp_path)):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with FolderLock(str(tmp_path)):
            pass
