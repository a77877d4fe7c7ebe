"""What only the real file system shows: short writes, files that may only be read, folders that cannot be synced."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchyard.disks.local import LocalDisk


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., int] = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:3], offset))  # pyright: ignore
    handle = LocalDisk().open(str(tmp_path / "a"), create=True)
    handle.append(b"0123456789")
    handle.append(b"abcd")
    assert handle.read_at(0, 100) == b"0123456789abcd"


def test_short_reads_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    real: Callable[..., bytes] = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: real(fd, min(size, 3), offset))  # pyright: ignore
    assert LocalDisk().open(str(tmp_path / "a")).read_at(1, 100) == b"123456789"


def test_a_disk_that_fills_in_the_middle_of_a_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., int] = os.pwrite

    def fills(descriptor: int, data: Any, offset: int) -> int:
        if offset >= 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:4], offset)

    monkeypatch.setattr(os, "pwrite", fills)
    handle = LocalDisk().open(str(tmp_path / "a"), create=True)
    with pytest.raises(OSError, match="No space left"):
        handle.append(b"0123456789")
    assert handle.read_at(0, 100) == b"0123"


def test_a_file_that_may_only_be_read_opens_for_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"input")
    real: Callable[..., int] = os.open

    def refuses_writing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuses_writing)
    handle = LocalDisk().open(str(tmp_path / "a"))
    assert handle.read_at(0, 10) == b"input"
    with pytest.raises(PermissionError):
        LocalDisk().open(str(tmp_path / "b"), create=True)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_folders_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuses(descriptor: int) -> None:
        raise OSError(code, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuses)
    LocalDisk().sync_folder(str(tmp_path))


def test_a_folder_sync_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        LocalDisk().sync_folder(str(tmp_path))
