"""Bytes on their way to or from a server, with how far they are drawn beside them."""

import sys
from typing import TYPE_CHECKING

from batchyard.cli import flags

if TYPE_CHECKING:
    from batchyard.transport.api import Api

LOOK_SECONDS = 0.2
SENDING, RECEIVING = "sending", "receiving"


class Transfer:
    """Draws progress on standard error, now and then."""

    def __init__(self, style: flags.Progress, stage: str) -> None:
        from batchyard.cli.meter import Meter
        from batchyard.cli.progress import open_drawing
        from batchyard.pipeline.tally import Tally

        self._drawing = open_drawing(style, sys.stderr)
        self._meter = Meter()
        self._tally = Tally(stage=stage)
        self._next = 0.0

    def moved(self, done: int, total: int) -> None:
        """So many bytes of so many (0: nobody knows) are there."""
        import time

        now = time.perf_counter()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        self._tally.bytes_read, self._tally.bytes_total = done, total
        self._drawing.show(self._meter.look(self._tally, now), now)

    def close(self) -> None:
        self._drawing.close()


def fetched(api: "Api", id: str, target: str, style: flags.Progress) -> int:
    """Bring a file's content to a path, or to standard output for `-`; how many bytes."""
    from batchyard.transport.fetching import fetch_file

    transfer = Transfer(style, RECEIVING)
    try:
        return _poured(api, id) if target == "-" else fetch_file(api, id, target, transfer.moved)
    finally:
        transfer.close()


def _poured(api: "Api", id: str) -> int:
    """By way of a temporary file: what was written to a pipe cannot be taken back when a try breaks off."""
    import shutil
    import tempfile
    from pathlib import Path

    from batchyard.transport.fetching import fetch_file

    with tempfile.TemporaryDirectory(prefix="batchyard-") as folder:
        path = Path(folder) / "content"
        size = fetch_file(api, id, str(path), lambda done, total: None)
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()
    return size
