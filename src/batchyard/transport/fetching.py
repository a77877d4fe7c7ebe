"""A file of a server on its way to this machine: picked up where it broke off, checked, and there only when whole.

What has come lies beside the target, named after the file's id: a file never changes, so what a killed process left can
be gone on with. Blocking.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO, Final

import urllib3

from batchyard.transport.api import Again, Api, ApiError, path_of
from batchyard.transport.sending import Progress

CHUNK_BYTES: Final = 1 << 18
_SHA256: Final = re.compile(r'^"([0-9a-f]{64})"$')
_RANGE: Final = re.compile(r"^bytes (\d+)-\d+/(\d+)$")


def fetch_file(api: Api, id: str, target: str, on_progress: Progress) -> int:
    """Bring a file's content to a path, whole; how many bytes it has. Raises ApiError, and OSError of this disk."""
    partial = partial_of(target, id)
    with open(partial, "ab") as file:
        _Fetch(api, path_of("files", id, "content"), file, on_progress).run()
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    partial.replace(target)
    _sync_folder(Path(target).parent)
    return size


def partial_of(target: str, id: str) -> Path:
    """Where the beginning of a file lies until it is whole."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", id)
    path = Path(target)
    return path.with_name(f".{path.name}.{safe}.partial")


class _Fetch:
    """One file, in as many answers as it takes."""

    def __init__(self, api: Api, path: str, file: BinaryIO, on_progress: Progress) -> None:
        self._api = api
        self._path = path
        self._file = file
        self._on_progress = on_progress
        self._had = max(0, file.tell() - 1)  # so that of a file that is here already one byte is asked for
        file.truncate(self._had)
        self._total: int | None = None
        self._tag: str | None = None

    def run(self) -> None:
        failures = 0
        while not self._whole():
            before = self._had
            try:
                with self._api.opened("GET", self._path, self._asked()) as response:
                    self._take(response)
            except Again as again:
                failures = failures + 1 if self._had == before else 1
                if failures >= self._api.tries:
                    raise again.error from None
                self._api.wait(failures, again.after_seconds)
            except ApiError as error:
                if error.status != 416 or not self._had:
                    raise
                self._restart()  # what lies here is longer than the file: it is something else
        self._check()

    def _whole(self) -> bool:
        return self._total is not None and self._had >= self._total

    def _asked(self) -> dict[str, str]:
        if not self._had:
            return {}
        return {"Range": f"bytes={self._had}-", **({"If-Range": self._tag} if self._tag else {})}

    def _take(self, response: urllib3.BaseHTTPResponse) -> None:
        """Keep what comes. A server that knows no ranges sends all again."""
        found = _RANGE.match(response.headers.get("Content-Range", "")) if response.status == 206 else None
        if found is None or int(found[1]) != self._had:
            self._restart()
        if response.status == 206 and found is None:
            raise ApiError("The server sent a part of the file without saying which.", status=206)
        tag = response.headers.get("ETag")
        self._tag = tag if tag and not tag.startswith("W/") else None
        length = response.headers.get("Content-Length")
        self._total = int(found[2]) if found else int(length) if length and length.isdigit() else None
        if found is not None and int(found[1]) != self._had:
            return  # not what was asked for: from the beginning, then
        for chunk in response.stream(CHUNK_BYTES):
            self._file.write(chunk)
            self._had += len(chunk)
            self._on_progress(self._had, self._total or 0)
        self._total = self._total or self._had

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._had = 0

    def _check(self) -> None:
        """Our server's tag is the SHA-256 of the bytes."""
        found = _SHA256.match(self._tag or "")
        if self._total is not None and self._had != self._total:
            raise self._broken("another length")
        if found is not None and _sha256(self._file) != found[1]:
            raise self._broken("another checksum")

    def _broken(self, what: str) -> ApiError:
        self._restart()
        return ApiError(f"What came has {what} than the file of the server.", remedy="Run the same command again.")


def _sha256(file: BinaryIO) -> str:
    file.flush()
    with open(file.name, "rb") as whole:
        return hashlib.file_digest(whole, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
