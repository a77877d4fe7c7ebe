"""Station *fetch*: bring the input to a regular file of this machine.

A plain local file is read where it lies. Anything else (standard input, a FIFO, a URL, an archive) is copied into a
folder of the run under a temporary name, synced and renamed: a file under the final name is always whole. Blocking.
"""

import errno
import os
import random
import select
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import xxhash
from msgspec import Struct

from batchyard.domain.errors import Invalid, NotFound, TooLarge, Unavailable, Unsupported
from batchyard.pipeline.download import Download, Refused, StartOver, Version
from batchyard.pipeline.stop import Stopped
from batchyard.pipeline.unpack import MAGIC_BYTES, packed_as, unpack
from batchyard.transport import web
from batchyard.transport.web import Patience

STDIN = "-"
STDIN_DESCRIPTOR = 0
CHUNK_BYTES = 1 << 18
POLL_MILLISECONDS = 200
RESERVE_BYTES = 64 << 20
"""What a fetched file leaves free on its disk: the plan and the journal need room too."""
CHECK_BYTES = 16 << 20
"""How much is written between two looks at the free space."""

Progress = Callable[[int, int | None], None]
"""Bytes that came (as stored), and the total where it is known."""


class Fetched(Struct, frozen=True, kw_only=True):
    """A regular file with the input.

    `origin` names the source for people, without secrets. `in_place`: it is the user's own file, not a copy. `reused`:
    an earlier run's copy, still good or no longer to be had. `identity` is equal for two fetches only if both saw the
    same file; it is empty where nothing but the content can tell.
    """

    path: str
    origin: str
    bytes: int
    identity: str
    in_place: bool = False
    reused: bool = False


class _Copy(Struct, frozen=True):
    """What is remembered of a download, beside it: a hash of the URL (it may carry a signature), and the version."""

    url: str
    version: Version
    bytes: int


def fetch(
    source: str,
    folder: str,
    *,
    name: str = "input.jsonl",
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda done, total: None,
    patience: Patience | None = None,
    rng: random.Random | None = None,
) -> Fetched:
    """Bring `source` (a path, `-`, a FIFO, an http(s) URL) to a regular file, decompressed; a copy is `folder`/`name`.

    Raises NotFound, Invalid, TooLarge or Unavailable with a remedy, and Stopped where `should_stop` said so.
    """
    scheme = web.scheme_of(source)
    if scheme in ("http", "https"):
        return _from_url(source, Path(folder) / name, should_stop, on_progress, patience or Patience(), rng)
    if scheme is not None:
        raise Unsupported(f"Addresses of the kind {scheme}:// are not read.", remedy="Give a signed https:// address.")
    return _from_path(source, Path(folder) / name, should_stop, on_progress)


def _from_path(source: str, copy: Path, should_stop: Callable[[], bool], on_progress: Progress) -> Fetched:
    if source == STDIN:
        chunks = _read(STDIN_DESCRIPTOR, should_stop)
        return _stored(unpack(chunks), copy, "standard input", on_progress)
    facts = _facts_of(source)
    identity = f"{facts.st_dev}:{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}"
    if not stat.S_ISREG(facts.st_mode):
        return _stored(unpack(_open_and_read(source, should_stop)), copy, source, on_progress)
    if packed_as(_start_of(source)) is None:
        return Fetched(
            path=os.path.realpath(source), origin=source, bytes=facts.st_size, identity=identity, in_place=True
        )
    chunks = _open_and_read(source, should_stop)
    return _stored(unpack(chunks), copy, source, on_progress, identity=identity)


def _facts_of(source: str) -> os.stat_result:
    try:
        facts = Path(source).stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"There is no input file {source}.", remedy="Check the path.") from error
        raise _unreadable(source, error) from error
    if stat.S_ISDIR(facts.st_mode):
        raise Invalid(f"The input {source} is a folder.", remedy="Name a file of it.")
    return facts


def _start_of(source: str) -> bytes:
    try:
        with open(source, "rb") as file:
            return file.read(MAGIC_BYTES)
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: OSError) -> Unavailable:
    return Unavailable(f"The input {source} cannot be read: {error.strerror}.", remedy="Check the path and its rights.")


def _open_and_read(source: str, should_stop: Callable[[], bool]) -> Iterator[bytes]:
    """Opened without waiting: a FIFO without a writer would block where nobody can stop it."""
    try:
        opened = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(source, error) from error
    try:
        yield from _read(opened, should_stop)
    finally:
        os.close(opened)


def _read(opened: int, should_stop: Callable[[], bool]) -> Iterator[bytes]:
    regular = stat.S_ISREG(os.fstat(opened).st_mode)
    while True:
        if not regular:
            _await_bytes(opened, should_stop)
        if should_stop():
            raise Stopped
        try:
            chunk = os.read(opened, CHUNK_BYTES)
        except BlockingIOError:
            continue
        if not chunk:
            return
        yield chunk


def _await_bytes(opened: int, should_stop: Callable[[], bool]) -> None:
    poll = select.poll()
    poll.register(opened, select.POLLIN | select.POLLHUP)
    while not poll.poll(POLL_MILLISECONDS):
        if should_stop():
            raise Stopped


def _from_url(
    url: str,
    copy: Path,
    should_stop: Callable[[], bool],
    on_progress: Progress,
    patience: Patience,
    rng: random.Random | None,
) -> Fetched:
    earlier = _earlier_copy(url, copy)
    known = None if earlier is None else earlier.version
    download = Download(url, should_stop=should_stop, patience=patience, rng=rng or random.Random(), known=known)
    try:
        fetched = _download(download, url, copy, on_progress)
    except (Refused, NotFound):
        if earlier is None:
            raise
        return _reused(url, copy, earlier)  # the address has expired since; its file has not
    finally:
        download.close()
    if download.unchanged and earlier is not None:
        return _reused(url, copy, earlier)
    _remember(copy, _Copy(_digest(url), download.version, fetched.bytes))
    return fetched


def _download(download: Download, url: str, copy: Path, on_progress: Progress) -> Fetched:
    while True:
        try:
            chunks = _watched(download, on_progress)
            first = next(chunks, b"")
            if download.unchanged:
                return Fetched(path=str(copy), origin=web.redacted(url), bytes=0, identity="", reused=True)
            _demand_space(copy, download.version.total or 0)
            return _stored(
                unpack(_chain(first, chunks)), copy, web.redacted(url), None, _identity(url, download.version)
            )
        except StartOver:
            continue


def _watched(download: Download, on_progress: Progress) -> Iterator[bytes]:
    done = 0
    for chunk in download.chunks():
        done += len(chunk)
        on_progress(done, download.version.total)
        yield chunk


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _stored(
    pieces: Iterator[bytes], copy: Path, origin: str, on_progress: Progress | None, identity: str = ""
) -> Fetched:
    """Write all pieces to a temporary name, sync it, and only then give it its own."""
    partial = copy.with_name(copy.name + ".partial")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            written = _write(pieces, file.write, copy, on_progress)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(copy)
        _sync_folder(copy.parent)
    except OSError as error:
        raise _disk_failed(copy, error) from error
    finally:
        partial.unlink(missing_ok=True)
    return Fetched(path=str(copy), origin=origin, bytes=written, identity=identity)


def _write(pieces: Iterator[bytes], write: Callable[[bytes], int], copy: Path, on_progress: Progress | None) -> int:
    written, checked = 0, -CHECK_BYTES
    for piece in pieces:
        if written - checked >= CHECK_BYTES:
            _demand_space(copy, len(piece))
            checked = written
        write(piece)
        written += len(piece)
        if on_progress is not None:
            on_progress(written, None)
    return written


def _demand_space(copy: Path, bytes_needed: int) -> None:
    free = _free_bytes(copy.parent)
    if free < bytes_needed + RESERVE_BYTES:
        raise TooLarge(
            f"The input does not fit on the disk of {copy.parent}: {free >> 20} MiB are free.",
            remedy="Free some space, or name another folder with --output-tmp-dir.",
        )


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _disk_failed(copy: Path, error: OSError) -> Unavailable | TooLarge:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TooLarge(
            f"The disk of {copy.parent} is full.",
            remedy="Free some space, or name another folder with --output-tmp-dir.",
        )
    return Unavailable(f"The input cannot be stored in {copy.parent}: {error.strerror}.", remedy="Check the folder.")


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _digest(url: str) -> str:
    return xxhash.xxh3_128_hexdigest(url.encode())


def _identity(url: str, version: Version) -> str:
    return f"{_digest(url)}:{version.etag}" if version.etag is not None and version.validator == version.etag else ""


def _facts_path(copy: Path) -> Path:
    return copy.with_name(copy.name + ".origin.json")


def _earlier_copy(url: str, copy: Path) -> _Copy | None:
    """The whole copy of the same URL that an earlier run left, or None."""
    try:
        known = msgspec.json.decode(_facts_path(copy).read_bytes(), type=_Copy)
        size = copy.stat().st_size
    except (OSError, msgspec.DecodeError):
        return None
    return known if known.url == _digest(url) and known.bytes == size else None


def _remember(copy: Path, known: _Copy) -> None:
    path = _facts_path(copy)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(msgspec.json.encode(known))
    partial.replace(path)


def _reused(url: str, copy: Path, known: _Copy) -> Fetched:
    identity = _identity(url, known.version)
    return Fetched(path=str(copy), origin=web.redacted(url), bytes=known.bytes, identity=identity, reused=True)
