"""A disk of which some files are kept in memory."""

import pytest

from batchyard.disk import Disk
from batchyard.pipeline.aside import Aside
from tests.support.memory_disk import MemoryDisk


@pytest.fixture
def under() -> Disk:
    disk = MemoryDisk()
    disk.make_folder("/run")
    return disk


def test_files_with_the_prefix_never_reach_the_disk_and_others_do(under: Disk) -> None:
    disk = Aside(under, "/run/plan")
    for path in ("/run/plan.new", "/run/other"):
        handle = disk.open(path, create=True)
        handle.append(b"12345678")
        handle.write_at(2, b"xy")
        handle.truncate(6)
        handle.sync()
        assert (handle.read_at(1, 3), handle.size()) == (b"2xy", 6)
        handle.close()
    disk.rename("/run/plan.new", "/run/plan")
    assert disk.exists("/run/plan") and not disk.exists("/run/plan.new")
    assert disk.open("/run/plan").read_at(0, 9) == b"12xy56"
    assert under.exists("/run/other") and not under.exists("/run/plan")
    disk.remove("/run/plan")
    assert not disk.exists("/run/plan")


def test_what_lies_on_the_disk_under_such_a_path_is_found(under: Disk) -> None:
    under.open("/run/plan", create=True).append(b"old")
    assert Aside(under, "/run/plan").open("/run/plan").read_at(0, 3) == b"old"
