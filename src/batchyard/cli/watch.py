"""`batchyard watch`: a batch until its end."""

import sys
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

import typer

from batchyard.cli import flags, remote

if TYPE_CHECKING:
    from batchyard.cli.seen import End
    from batchyard.transport.api import Api

TRIES = 30
"""A server that was there is waited for, a quarter of an hour: it may be restarted while its batches wait."""
LINE_SECONDS = 5.0
WINDOW_SECONDS = 30.0


def watch(
    id: remote.BatchId,
    as_json: flags.AsJson = False,
    progress: flags.ShowProgress = flags.Progress.AUTO,
    base_url: remote.BaseUrl = remote.DEFAULT_URL,
    api_key_env: remote.ApiKeyEnv = None,
) -> None:
    """Follow a batch until it has ended: its counts, its speed, and how long it will take.

    Ctrl-C only ends the watching; the batch goes on.

    Exit codes: 0 every line was answered, 3 the batch completed but lines failed, 4 it expired, 5 it was cancelled,
    6 it failed, 1 the server says no or does not answer, 2 the command line is wrong, 130 interrupted.
    """
    with remote.server(base_url, api_key_env) as api:
        batch, end = watched(api, id, progress)
        from batchyard.cli.batches import show

        show(batch, as_json=as_json)
    raise typer.Exit(int(end))


def watched(api: "Api", id: str, style: flags.Progress) -> "tuple[remote.Object, End]":
    """Follow a batch with its progress on standard error; the batch at its end, and how it ended."""
    import time

    from msgspec import structs

    from batchyard.cli.seen import end_of
    from batchyard.transport.following import follow

    api.patience = structs.replace(api.patience, tries=TRIES)
    board = Board(sys.stderr, style)
    batch: remote.Object = {}
    try:
        for batch in follow(api, id, lambda batch: end_of(batch) is not None, time.sleep):
            board.show(batch, time.monotonic())
    finally:
        board.close()
    end = end_of(batch)
    assert end is not None, "following ends with the batch"
    return batch, end


class Board:
    """Where progress is drawn: one line over and over on a terminal, otherwise a line now and then."""

    def __init__(self, stream: TextIO, style: flags.Progress) -> None:
        import os

        terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._stream = stream
        self._silent = style is flags.Progress.NONE
        self._over = style is flags.Progress.BAR or (style is flags.Progress.AUTO and terminal)
        self._speed = Speed()
        self._state = ""
        self._next = 0.0
        self._drawn = False

    def show(self, batch: Mapping[str, Any], now: float) -> None:
        from batchyard.cli.seen import counts_of, status_of

        counts, state = counts_of(batch), status_of(batch)
        done = counts.completed + counts.failed
        self._speed.look(done, now)
        text = progress_line(batch, self._speed.per_second, self._speed.seconds_left(counts.total - done))
        if self._silent:
            return
        if self._over:
            self._stream.write(f"\r\x1b[K{text}")
            self._drawn = True
        elif state != self._state or now >= self._next:
            self._stream.write(text + "\n")
            self._next = now + LINE_SECONDS
        self._state = state
        self._stream.flush()

    def close(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


class Speed:
    """Lines a second, over the recent past of what was seen."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, done: int, now: float) -> None:
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        (first, before), (last, done) = self._seen[0], self._seen[-1]
        return max(0.0, (done - before) / (last - first)) if last > first else 0.0

    def seconds_left(self, lines: int) -> float | None:
        return lines / self.per_second if self.per_second > 0 else None


def progress_line(batch: Mapping[str, Any], per_second: float, seconds_left: float | None) -> str:
    """`in_progress: 412/700, 3 failed | 35.1 lines/s | 8 s left`."""
    from batchyard.cli.seen import end_of, lines_of, status_of
    from batchyard.cli.wording import duration, rate

    parts = [": ".join(part for part in (status_of(batch), lines_of(batch)) if part)]
    if per_second and end_of(batch) is None:
        parts.append(f"{rate(per_second)} lines/s")
        parts += [] if seconds_left is None else [f"{duration(seconds_left)} left"]
    return " | ".join(parts)
