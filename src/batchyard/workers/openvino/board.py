"""The stepping thread: drafts go on board of the pipeline, take a step together, and leave as they end.

OpenVINO's pipeline is unusable once it has thrown. It is then built anew, and those that were on board run again one
by one, so that the one that cannot run harms nobody else.

A draft that is cancelled leaves blocks of the pipeline's cache behind for good (seen with 2026.4.1: after some 70
cancels nothing fits any more and every request ends as IGNORED), so after some cancels the pipeline is built anew, too.

A draft that is read aloud cannot run again once it has said something: its words might be others. It ends as
`Interrupted` where the pipeline is built anew under it.
"""

import os
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Handle(Protocol):
    """A draft being written."""

    def running(self) -> bool: ...

    def cancel(self) -> None: ...

    def fresh(self) -> "Generated":
        """What was generated since the last call, for a draft that still runs; perhaps nothing."""
        ...

    def result(self) -> "Generated":
        """All that was generated, once it no longer runs. Raises RuntimeError where it could not be."""
        ...


class Pipeline(Protocol):
    """What the board needs of OpenVINO. Any call may raise RuntimeError; `step` then never works again."""

    def add(self, ids: Sequence[int], config: Any) -> Handle: ...

    def step(self) -> None: ...


MOST_CANCELLED = 8
"""After so many cancels the pipeline is built anew as soon as nobody is on board."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Token ids with their log probabilities (zeros where they were not asked for)."""

    ids: Sequence[int]
    logprobs: Sequence[float]
    finish_reason: str


class Interrupted(Exception):
    """A draft that has said something cannot be begun again."""


class Reader(Protocol):
    """Reads a draft aloud while it is written. `has_begun` once it has said something."""

    has_begun: bool

    def read(self, news: Generated) -> None:
        """Take what is new. It must not raise."""
        ...


@dataclass(slots=True)
class Draft:
    """One answer to write. `done` is called once, on the stepping thread, unless it is given up.

    A `reader` hears after each step what is new; `done` brings all of it all the same.
    """

    ids: Sequence[int]
    config: Any
    done: Callable[[Generated | Exception], None]
    given_up: Callable[[], bool]
    reader: Reader | None = None


class Board:
    """Runs the pipeline that `build` makes; `put` may be called from any thread."""

    def __init__(self, build: Callable[[], Pipeline]) -> None:
        self._build = build
        self._pipeline = build()
        self._arrivals: queue.SimpleQueue[Draft] = queue.SimpleQueue()
        self._suspects: deque[Draft] = deque()
        self._on_board: list[tuple[Handle, Draft]] = []
        self._cancelled = 0
        self.rebuilt = 0

    def start(self) -> None:
        threading.Thread(target=self._work, name="step", daemon=True).start()

    def put(self, draft: Draft) -> None:
        self._arrivals.put(draft)

    def _work(self) -> None:
        try:
            while True:
                self.turn()
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # the engine starts another worker

    def turn(self) -> None:
        """Take on board who may come, take a step, let off who has ended. Waits where there is nobody at all."""
        self._admit()
        if self._on_board and self._step():
            self._let_off()

    def _admit(self) -> None:
        """While there are suspects, one at a time, alone."""
        if self._suspects:
            if not self._on_board:
                self._take(self._suspects.popleft())
            return
        if not self._on_board:
            self._take(self._arrivals.get())
        while not self._arrivals.empty():
            self._take(self._arrivals.get())

    def _take(self, draft: Draft) -> None:
        if draft.given_up():
            return
        try:
            self._on_board.append((self._pipeline.add(draft.ids, draft.config), draft))
        except RuntimeError as error:
            draft.done(error)

    def _step(self) -> bool:
        try:
            self._pipeline.step()
        except RuntimeError as error:
            self._recover(error)
            return False
        return True

    def _recover(self, error: RuntimeError) -> None:
        stranded = [draft for _, draft in self._on_board]
        if len(stranded) == 1:
            stranded[0].done(error)
        else:
            self._suspects.extend(_repeatable(stranded))
        self._renew()

    def _renew(self) -> None:
        self._on_board.clear()
        self._pipeline = self._build()
        self._cancelled = 0
        self.rebuilt += 1

    def _let_off(self) -> None:
        staying: list[tuple[Handle, Draft]] = []
        crowded_out: list[Draft] = []
        for handle, draft in self._on_board:
            if draft.given_up():
                handle.cancel()
                self._cancelled += 1
            elif handle.running():
                staying.append((handle, draft))
                if draft.reader is not None:
                    draft.reader.read(handle.fresh())
            elif isinstance(result := _result(handle), Exception) and self._cancelled:
                crowded_out.append(draft)
            else:
                draft.done(result)
        self._on_board = staying
        self._make_room_again(crowded_out)

    def _make_room_again(self, crowded_out: list[Draft]) -> None:
        """Build the pipeline anew where cancels have used it up; who was on board, or found no room, starts again."""
        if crowded_out or (self._cancelled >= MOST_CANCELLED and not self._on_board):
            again = _repeatable([*crowded_out, *(draft for _, draft in self._on_board)])
            self._renew()
            for draft in again:
                self._take(draft)


def _repeatable(drafts: list[Draft]) -> list[Draft]:
    """Those that can run again; the others end here."""
    repeatable: list[Draft] = []
    for draft in drafts:
        if draft.reader is not None and draft.reader.has_begun:
            draft.done(Interrupted("the pipeline had to be built anew in the middle of the answer"))
        else:
            repeatable.append(draft)
    return repeatable


def _result(handle: Handle) -> Generated | Exception:
    try:
        return handle.result()
    except RuntimeError as error:
        return error
