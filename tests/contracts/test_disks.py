"""What every disk keeps: see `batchyard.disk`."""

from pathlib import Path
from random import Random

import pytest

from batchyard.disk import Disk
from batchyard.disks.local import LocalDisk
from tests.simulation.disk import Faults, FaultyDisk
from tests.simulation.trace import Trace


@pytest.fixture(params=["local", "simulated"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return LocalDisk() if request.param == "local" else FaultyDisk(Random(1), Trace(), Faults())


@pytest.fixture
def folder(disk: Disk, tmp_path: Path) -> str:
    disk.make_folder(str(tmp_path))
    return str(tmp_path)


def test_what_is_appended_is_read_back(disk: Disk, folder: str) -> None:
    handle = disk.open(f"{folder}/a", create=True)
    handle.append(b"hello ")
    handle.append(memoryview(b"world"))
    assert handle.read_at(0, 100) == b"hello world"
    assert handle.read_at(6, 3) == b"wor"
    assert handle.read_at(11, 1) == b""
    assert handle.size() == 11


def test_append_goes_to_the_end_whoever_moved_it(disk: Disk, folder: str) -> None:
    handle = disk.open(f"{folder}/a", create=True)
    handle.append(b"12345678")
    handle.truncate(4)
    handle.append(bytearray(b"x"))
    assert handle.read_at(0, 10) == b"1234x"


def test_write_at_changes_bytes_in_place(disk: Disk, folder: str) -> None:
    handle = disk.open(f"{folder}/a", create=True)
    handle.append(b"abcdef")
    handle.write_at(2, b"XY")
    assert handle.read_at(0, 10) == b"abXYef"


def test_a_file_longer_than_one_write_is_whole(disk: Disk, folder: str) -> None:
    data = bytes(range(256)) * 40_000
    handle = disk.open(f"{folder}/a", create=True)
    handle.append(data)
    handle.sync()
    assert handle.read_at(0, len(data) + 1) == data


def test_two_handles_see_the_same_bytes(disk: Disk, folder: str) -> None:
    first = disk.open(f"{folder}/a", create=True)
    second = disk.open(f"{folder}/a")
    first.append(b"seen")
    assert second.read_at(0, 10) == b"seen"


def test_open_without_create_wants_a_file(disk: Disk, folder: str) -> None:
    with pytest.raises(FileNotFoundError):
        disk.open(f"{folder}/none")


def test_open_with_create_keeps_what_is_there(disk: Disk, folder: str) -> None:
    disk.open(f"{folder}/a", create=True).append(b"kept")
    assert disk.open(f"{folder}/a", create=True).read_at(0, 10) == b"kept"


def test_a_file_needs_its_folder(disk: Disk, folder: str) -> None:
    with pytest.raises(FileNotFoundError):
        disk.open(f"{folder}/none/a", create=True)


def test_make_folder_makes_parents_and_may_be_repeated(disk: Disk, folder: str) -> None:
    for _ in range(2):
        disk.make_folder(f"{folder}/a/b/c")
    assert disk.exists(f"{folder}/a/b")
    disk.open(f"{folder}/a/b/c/file", create=True).append(b"1")


def test_names_are_sorted_and_of_one_folder_only(disk: Disk, folder: str) -> None:
    disk.make_folder(f"{folder}/m/deep")
    for name in ("z", "a", "m/deep/x"):
        disk.open(f"{folder}/{name}", create=True)
    assert disk.names(folder) == ["a", "m", "z"]


def test_a_folder_that_is_not_there_has_no_names(disk: Disk, folder: str) -> None:
    assert disk.names(f"{folder}/none") == []


def test_rename_replaces_the_file_of_that_name(disk: Disk, folder: str) -> None:
    disk.open(f"{folder}/old", create=True).append(b"old")
    disk.open(f"{folder}/new", create=True).append(b"new")
    disk.rename(f"{folder}/new", f"{folder}/old")
    disk.sync_folder(folder)
    assert disk.names(folder) == ["old"]
    assert disk.open(f"{folder}/old").read_at(0, 10) == b"new"


def test_remove_removes_and_may_be_repeated(disk: Disk, folder: str) -> None:
    disk.open(f"{folder}/a", create=True)
    for _ in range(2):
        disk.remove(f"{folder}/a")
    assert not disk.exists(f"{folder}/a")


def test_a_local_handle_closes_once_however_often_it_is_asked(tmp_path: Path) -> None:
    handle = LocalDisk().open(str(tmp_path / "a"), create=True)
    handle.close()
    handle.close()
    with pytest.raises(OSError):
        handle.size()


def test_an_empty_folder_can_be_removed_twice_and_made_again(disk: Disk, folder: str) -> None:
    disk.make_folder(f"{folder}/a/b")
    disk.remove_folder(f"{folder}/a/b")
    disk.remove_folder(f"{folder}/a/b")
    assert disk.names(f"{folder}/a") == []
    disk.make_folder(f"{folder}/a/b")
    assert disk.names(f"{folder}/a") == ["b"]


def test_a_folder_that_holds_anything_stays(disk: Disk, folder: str) -> None:
    disk.make_folder(f"{folder}/a")
    disk.open(f"{folder}/a/x", create=True).close()
    with pytest.raises(OSError):
        disk.remove_folder(f"{folder}/a")
    assert disk.names(f"{folder}/a") == ["x"]
