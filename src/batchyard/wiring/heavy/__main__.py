"""A process for heavy steps: takes one after another from its parent, and ends with it.

While a file still grows, it is examined with what the processor has to spare: whoever sends it and whoever asks the
server something go first. Once it is whole, and somebody may wait for it, the rest is done like any other step.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from batchyard.config import Order
from batchyard.disk import Handle
from batchyard.disks.local import LocalDisk
from batchyard.journals.disk import open_journal
from batchyard.pipeline.finalize import Written, finalize
from batchyard.pipeline.folder import opened
from batchyard.pipeline.stop import Stopped
from batchyard.pipeline.validate import Verdict, validating, verdict_of
from batchyard.transport.frames import Frame
from batchyard.transport.parent import Parent
from batchyard.wiring.heavy.wire import (
    Grown,
    Kind,
    Progress,
    ToFinalize,
    ToValidate,
    decode,
    encode,
    trouble_of,
)
from batchyard.wiring.lines import line_dialect

T = TypeVar("T")

NICENESS = 5
"""Callers who wait go before files that nobody looks at yet."""


class Step:
    """The step under way, as the thread sees it that hears the parent."""

    def __init__(self, frame: Frame, parent: Parent) -> None:
        self.frame = frame
        self._parent = parent
        self._changed = threading.Condition()
        self._stopped = False
        self._grown = Grown(0, False)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def grow(self, grown: Grown) -> None:
        with self._changed:
            self._grown = grown
            self._changed.notify()

    def on_progress(self, size: int, lines: int) -> None:
        if self._stopped:
            raise Stopped
        self._parent.send(Frame(self.frame.number, Kind.PROGRESS, encode(Progress(size, lines))))

    @property
    def growing(self) -> bool:
        """Whether there is more to come of the file."""
        return not self._grown.whole

    def wait_for(self, end: int) -> int:
        """Wait until so many bytes can be read, or the file is whole; how many can be. Raises Stopped."""
        if self._grown.readable >= end:
            return self._grown.readable
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._grown.whole or self._grown.readable >= end)
            if self._stopped:
                raise Stopped
            return self._grown.readable


class FollowingDisk(LocalDisk):
    """The disk, with one file on it that still grows: reading it waits for what is to come."""

    def __init__(self, step: Step, place: str, path: str) -> None:
        self._step = step
        self._path = path
        try:
            self._handle = super().open(place)
        except FileNotFoundError:  # it was kept meanwhile
            self._handle = super().open(path)

    def open(self, path: str, *, create: bool = False) -> Handle:
        return FollowingHandle(self._handle, self._step) if path == self._path else super().open(path, create=create)

    def close(self) -> None:
        self._handle.close()


class FollowingHandle:
    """The growing file, open for reading."""

    def __init__(self, handle: Handle, step: Step) -> None:
        self._handle = handle
        self._step = step
        self.append = handle.append
        self.write_at = handle.write_at
        self.truncate = handle.truncate
        self.sync = handle.sync

    def read_at(self, offset: int, size: int) -> bytes:
        readable = self._step.wait_for(offset + size)
        return self._handle.read_at(offset, max(min(size, readable - offset), 0))

    def size(self) -> int:
        return self._step.wait_for(1 << 62)

    def close(self) -> None:
        """The disk has it for longer."""


def serve() -> None:
    """Carry steps out until the parent hangs up."""
    with suppress(OSError):
        os.nice(NICENESS)
    parent, steps = Parent.attach(), SimpleQueue[Step]()
    threading.Thread(target=partial(_hear, parent, steps), daemon=True).start()
    while True:
        step = steps.get()
        parent.send(_outcome(step))


def _hear(parent: Parent, steps: SimpleQueue[Step]) -> None:
    """Take what the parent says, which may concern the step under way; end with the parent, whatever is under way."""
    step: Step | None = None
    try:
        while (frame := parent.receive()) is not None:
            if frame.kind in (Kind.VALIDATE, Kind.FINALIZE, Kind.EXAMINE):
                step = Step(frame, parent)
                steps.put(step)
            elif step is not None and step.frame.number == frame.number:
                _tell(step, frame)
    finally:
        os._exit(0)


def _tell(step: Step, frame: Frame) -> None:
    if frame.kind == Kind.GROWN:
        step.grow(decode(frame.data, Grown))
    else:
        step.stop()


def _outcome(step: Step) -> Frame:
    number, steps = step.frame.number, {Kind.VALIDATE: _validate, Kind.FINALIZE: _finalize, Kind.EXAMINE: _examine}
    try:
        return Frame(number, Kind.DONE, encode(steps[Kind(step.frame.kind)](step)))
    except Stopped:
        return Frame(number, Kind.STOPPED)
    except Exception as error:
        return Frame(number, Kind.FAILED, encode(trouble_of(error)))


def _validate(step: Step) -> Verdict:
    return verdict_of(_checking(step, LocalDisk(), decode(step.frame.data, ToValidate)))


def _examine(step: Step) -> Verdict:
    asked = decode(step.frame.data, ToValidate)
    disk = FollowingDisk(step, asked.place, asked.input_path)
    try:
        steps = _checking(step, disk, asked)
        with ThreadPoolExecutor(1, initializer=_step_aside) as aside:
            aside.submit(_keep_up, steps, step).result()
        return verdict_of(steps)
    finally:
        disk.close()


def _keep_up(steps: Iterator[Verdict | None], step: Step) -> None:
    """Go on until the file is whole."""
    while step.growing:
        next(steps)


def _step_aside() -> None:
    """Let this thread run where no other wants to, and only there; for good, so it is a thread of its own."""
    if sys.platform == "linux":
        with suppress(OSError):  # where that is not allowed, it is only nice
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _checking(step: Step, disk: LocalDisk, asked: ToValidate) -> Iterator[Verdict | None]:
    return validating(
        disk,
        asked.input_path,
        asked.plan_path,
        line_dialect(asked.run_id, asked.terms),
        dedupe=asked.dedupe,
        max_line_bytes=asked.max_line_bytes,
        on_progress=step.on_progress,
    )


def _finalize(step: Step) -> Written:
    return asyncio.run(_written(step, decode(step.frame.data, ToFinalize)))


async def _written(step: Step, asked: ToFinalize) -> Written:
    """The journal is opened anew: all of it is durable, so nothing of it changes."""
    disk = LocalDisk()
    journal = partial(open_journal, disk, _inline, made=True)
    folder = asked.journal_folder
    async with opened(disk, _inline, journal, asked.folder, asked.input_path, journal_folder=folder) as run:
        return finalize(
            disk,
            run.plan,
            run.reader,
            run.journal,
            line_dialect(asked.run_id, asked.terms, asked.form),
            output=asked.output,
            errors=asked.errors,
            order=Order.INPUT,
            on_progress=lambda lines: step.on_progress(0, lines),
            durable=False,
            by_model=asked.by_model,
        )


async def _inline(step: Callable[[], T]) -> T:
    return step()


if __name__ == "__main__":
    serve()
