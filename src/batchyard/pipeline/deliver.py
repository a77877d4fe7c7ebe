"""Station *deliver*: bring a finished file to where the user wants it.

The file is whole and synced before anything is sent, and stays where it is: a delivery that fails costs nothing but the
delivery. An upload is a PUT, streamed, tried again where that may help, and over with the first 2xx. Blocking.
"""

import errno
import os
import random
import select
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from msgspec import Struct

from batchyard.domain.errors import Unavailable, Unsupported
from batchyard.pipeline.stop import Stopped
from batchyard.transport import web
from batchyard.transport.web import Patience

STDOUT = "-"
STDOUT_DESCRIPTOR = 1
CHUNK_BYTES = 1 << 18
POLL_SECONDS = 0.2

Progress = Callable[[int, int], None]
"""Bytes that went, and the total."""


class Delivered(Struct, frozen=True, kw_only=True):
    """Where a file went: `place` for people, without secrets; `tries` is how often it was sent."""

    place: str
    bytes: int
    tries: int = 1


def deliver(
    path: str,
    target: str,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda done, total: None,
    patience: Patience | None = None,
    rng: random.Random | None = None,
) -> Delivered:
    """Bring the finished file `path` to `target`: a path, `-`, a FIFO or other special file, or an http(s) URL.

    Raises Unavailable, whose remedy says where the results are and how to bring them on, or Stopped.
    """
    scheme = web.scheme_of(target)
    if scheme in ("http", "https"):
        return _Upload(path, target, should_stop, on_progress, patience or Patience(), rng or random.Random()).run()
    if scheme is not None:
        raise Unsupported(f"Addresses of the kind {scheme}:// are not written to.", remedy=_kept(path, target))
    if target == STDOUT:
        return _poured(path, target, STDOUT_DESCRIPTOR, should_stop, on_progress)
    if Path(target).exists() and not Path(target).is_file():
        return _into_special(path, target, should_stop, on_progress)
    return _as_file(path, target, should_stop, on_progress)


def _as_file(path: str, target: str, should_stop: Callable[[], bool], on_progress: Progress) -> Delivered:
    """Copied under a temporary name beside the target, synced, and renamed over it."""
    if Path(target).exists() and Path(path).samefile(target):
        return Delivered(place=target, bytes=_size(target), tries=0)
    final = Path(os.path.realpath(target))
    partial = final.with_name(final.name + ".partial")
    try:
        with open(partial, "wb") as file:
            sent = sum(file.write(chunk) for chunk in _chunks(path, should_stop, on_progress))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)
        _sync_folder(final.parent)
    except OSError as error:
        raise _cannot_write(path, target, error) from error
    finally:
        partial.unlink(missing_ok=True)
    return Delivered(place=target, bytes=sent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _into_special(path: str, target: str, should_stop: Callable[[], bool], on_progress: Progress) -> Delivered:
    opened = _open_special(path, target, should_stop)
    try:
        return _poured(path, target, opened, should_stop, on_progress)
    finally:
        os.close(opened)


def _open_special(path: str, target: str, should_stop: Callable[[], bool]) -> int:
    """A FIFO cannot be opened for writing before it has a reader: ask until it has one or the run is stopped."""
    while True:
        if should_stop():
            raise Stopped
        try:
            return os.open(target, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise _cannot_write(path, target, error) from error
        web.pause(POLL_SECONDS, should_stop)


def _poured(path: str, target: str, opened: int, should_stop: Callable[[], bool], on_progress: Progress) -> Delivered:
    sent = 0
    try:
        for chunk in _chunks(path, should_stop, on_progress):
            _write_all(opened, chunk, should_stop)
            sent += len(chunk)
    except OSError as error:
        raise _cannot_write(path, target, error) from error
    return Delivered(place="standard output" if target == STDOUT else target, bytes=sent)


def _write_all(opened: int, data: bytes, should_stop: Callable[[], bool]) -> None:
    """Never blocked for long: a pipe that is ready takes at least PIPE_BUF bytes at once."""
    view = memoryview(data)
    while view:
        if should_stop():
            raise Stopped
        if select.select([], [opened], [], POLL_SECONDS)[1]:
            view = view[os.write(opened, view[: select.PIPE_BUF]) :]


def _size(path: str) -> int:
    return Path(path).stat().st_size


def _chunks(path: str, should_stop: Callable[[], bool], on_progress: Progress) -> Iterator[bytes]:
    total, done = _size(path), 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if should_stop():
                raise Stopped
            yield chunk
            done += len(chunk)
            on_progress(done, total)


class _Upload:
    """One file to one URL: tried until it is there, or until trying again cannot help."""

    def __init__(
        self,
        path: str,
        url: str,
        should_stop: Callable[[], bool],
        on_progress: Progress,
        patience: Patience,
        rng: random.Random,
    ) -> None:
        self._path = path
        self._url = url
        self._should_stop = should_stop
        self._on_progress = on_progress
        self._patience = patience
        self._rng = rng
        self._size = _size(path)

    def run(self) -> Delivered:
        pool = web.open_pool(self._url)
        try:
            for tries in range(1, self._patience.tries + 1):
                if self._sent(pool, last=tries == self._patience.tries, tries=tries):
                    return Delivered(place=web.redacted(self._url), bytes=self._size, tries=tries)
        finally:
            pool.clear()
        raise AssertionError("the last try returns or raises")

    def _sent(self, pool: urllib3.PoolManager, *, last: bool, tries: int) -> bool:
        """Send once. True: it is there. False: waited, try again. Raises Unavailable where that is of no use."""
        if self._should_stop():
            raise Stopped
        after = None
        try:
            status, after, said = self._put(pool)
            if 200 <= status < 300:
                return True
            cause, final = f"the server answered {status}{said}", not web.transient(status)
        except urllib3.exceptions.HTTPError as error:
            cause, final = web.cause_of(error), web.hopeless(error)
        if final or last:
            raise self._failed(cause, tries)
        wait = self._patience.wait_seconds(tries, web.retry_after_seconds(after), self._rng)
        web.pause(wait, self._should_stop)
        return False

    def _put(self, pool: urllib3.PoolManager) -> tuple[int, str | None, str]:
        """Status, Retry-After, and the beginning of what an unwilling server said."""
        headers = {"Content-Length": str(self._size), "User-Agent": "batchyard", **_headers_for(self._url)}
        response = web.send(pool, "PUT", self._url, headers, self._patience.timeout, self._body)
        try:
            said = b"" if response.status < 300 else response.read(400)
            return response.status, response.headers.get("Retry-After"), _in_words(said)
        finally:
            web.let_go(response)

    def _body(self) -> Iterator[bytes]:
        return _chunks(self._path, self._should_stop, self._on_progress)

    def _failed(self, cause: str, tries: int) -> Unavailable:
        often = "" if tries == 1 else f" ({tries} tries)"
        return Unavailable(
            f"The results could not be uploaded to {web.redacted(self._url)}: {cause}{often}.",
            remedy=_kept(self._path, self._url),
        )


def upload_command(path: str, url: str) -> str:
    """What a person can type to upload a file: with the URL as they typed it, so keep it out of logs."""
    extra = "".join(f" -H {shlex.quote(f'{name}: {value}')}" for name, value in _headers_for(url).items())
    return f"curl --fail{extra} -T {shlex.quote(path)} {shlex.quote(url)}"


def _headers_for(url: str) -> dict[str, str]:
    """Azure takes no blob without being told its kind (Put Blob); nobody else is sent more than HTTP asks for."""
    azure = (urlsplit(url).hostname or "").endswith(".blob.core.windows.net")
    return {"x-ms-blob-type": "BlockBlob"} if azure else {}


def _in_words(said: bytes) -> str:
    text = " ".join(said.decode("utf-8", "replace").split())
    return f" ({text[:200]})" if text.isprintable() and text else ""


def _kept(path: str, target: str) -> str:
    if web.is_url(target):
        return f"The finished results are in {path}. Upload them with: {upload_command(path, target)}"
    return f"The finished results are in {path}."


def _cannot_write(path: str, target: str, error: OSError) -> Unavailable:
    place = "standard output" if target == STDOUT else target
    reason = "nobody reads it any more" if error.errno == errno.EPIPE else error.strerror
    return Unavailable(f"The results could not be written to {place}: {reason}.", remedy=_kept(path, target))
