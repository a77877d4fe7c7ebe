"""Station *examine*: validates an input while it still arrives, so that a batch of it can begin to run at once.

What the lines will be held to is guessed from the first of them; of what lines ask that name no model, no plan says
anything. The plan and the verdict are kept until a batch comes whose terms are the same: it takes them over, in place
of validating. This is only a cache. Bytes never change once they are kept, so what was found stays true; what was
guessed wrong, was never finished or is long past is thrown away, and the batch is validated as any other. A restart
begins with none.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import structs

from batchyard.disk import Disk
from batchyard.offload import Offload
from batchyard.pipeline.heavy import Terms
from batchyard.pipeline.validate import OnProgress, Verdict

_log = logging.getLogger(__name__)

MOST_KEPT = 64
TIDY_SECONDS = 60.0


class Growing:
    """A file on its way: it lies at `place`, from its end on at `path`. `hear` is told how much of it can be read."""

    def __init__(self, place: str, path: str) -> None:
        self.place = place
        self.path = path
        self.readable = 0
        self.whole = False
        self._hear: Callable[[], None] = _nobody

    def follow(self, hear: Callable[[], None]) -> None:
        """Tell somebody now, and whenever more can be read."""
        self._hear = hear
        hear()

    def forget(self) -> None:
        """Nobody listens any more."""
        self._hear = _nobody

    def grow(self, readable: int, *, whole: bool = False) -> None:
        if readable > self.readable or whole:
            self.readable, self.whole = readable, whole
            self._hear()


class Examine(Protocol):
    """Validates a file as it grows, and writes its plan; slow files make it slow. Raises as `Heavy.validate` does."""

    async def __call__(self, growing: Growing, plan_path: str, terms: Terms, on_progress: OnProgress) -> Verdict: ...


class Examination:
    """One file's. Whoever receives the file tells it how that goes."""

    def __init__(self, growing: Growing, plan_path: str, terms: Terms) -> None:
        self.growing = growing
        self.plan_path = plan_path
        self.terms = terms
        self.begun = False
        self.taken = False
        self.verdict: Verdict | None = None
        self.task: asyncio.Task[None] | None = None
        self.objection: BaseException | None = None
        self._on_progress: OnProgress | None = None

    @property
    def ended(self) -> bool:
        return self.task is not None and self.task.done()

    def grown(self, readable: int) -> None:
        """So many bytes can be read by now."""
        self.growing.grow(readable)

    def whole(self, size: int) -> None:
        """These are all bytes, and they are kept."""
        self.growing.grow(size, whole=True)

    def give_up(self) -> None:
        """Nobody will ask for it."""
        if self.task is not None:
            self.task.cancel()

    def listen(self, on_progress: OnProgress) -> None:
        """Somebody waits, who may object to going on."""
        self._on_progress = on_progress

    def on_progress(self, size: int, lines: int) -> None:
        if self._on_progress is not None:
            try:
                self._on_progress(size, lines)
            except BaseException as objection:
                self.objection = objection
                raise


class Examinations:
    """All of a server. Only while `run` runs are there new ones, and one at a time is carried out."""

    def __init__(
        self,
        disk: Disk,
        offload: Offload,
        folder: str,
        examine: Examine,
        guess: Callable[[bytes], Terms | None],
        path_of: Callable[[str], str | None],
        smallest_bytes: int,
    ) -> None:
        self._disk = disk
        self._offload = offload
        self._folder = folder
        self._examine = examine
        self._guess = guess
        self._path_of = path_of
        self._smallest_bytes = smallest_bytes
        self._kept: dict[str, Examination] = {}
        self._turns = asyncio.Semaphore(1)
        self._group: asyncio.TaskGroup | None = None

    @property
    def smallest_bytes(self) -> int:
        """What is smaller is validated before anybody notices."""
        return self._smallest_bytes

    async def clear(self) -> None:
        """Make the folder, and remove what an earlier process left in it."""
        await self._offload(self._clear)

    async def run(self) -> None:
        """Examine what comes, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    await asyncio.sleep(TIDY_SECONDS)
                    await self._tidy_if_it_can()
        finally:
            self._group = None

    def begin(self, blob: str, place: str, first_line: bytes) -> Examination | None:
        """Examine a file from now on; None where nobody could ask for it."""
        terms, path = self._guess(first_line), self._path_of(blob)
        if terms is None or path is None or self._group is None:
            return None
        examination = Examination(Growing(place, path), f"{self._folder}/{_name(blob)}", terms)
        self._kept[blob] = examination
        examination.task = self._group.create_task(self._carry_out(blob, examination))
        return examination

    async def take(self, blob: str, terms: Terms, plan_path: str, on_progress: OnProgress) -> Verdict | None:
        """Hand over what was found out about a blob: the plan comes to the given path, where no line is bad.

        Waits for an examination that has begun. None where there is nothing of use. Raises what `on_progress` raises.
        """
        examination = self._kept.get(blob)
        if examination is None or examination.taken or examination.terms != structs.replace(terms, default_model=None):
            return None
        examination.taken = True
        try:
            verdict = await self._ended(examination, on_progress)
            if verdict is not None:
                on_progress(verdict.bytes, verdict.lines)
                if not verdict.error_count:
                    await self._offload(lambda: self._move(examination.plan_path, plan_path))
        finally:
            self._kept.pop(blob, None)
        return verdict

    async def tidy(self) -> None:
        """Forget what is about bytes that are gone, and the oldest of what is too much; remove what nobody asks for."""
        for blob, examination in list(self._kept.items()):
            gone = not await self._offload(lambda path=examination.growing.path: self._disk.exists(path))
            if examination.ended and not examination.taken and (gone or len(self._kept) > MOST_KEPT):
                self._kept.pop(blob, None)
        await self._offload(self._remove_unknown)

    async def _tidy_if_it_can(self) -> None:
        try:
            await self.tidy()
        except OSError as error:
            _log.warning("examinations_not_tidied", extra={"reason": str(error)})

    async def _carry_out(self, blob: str, examination: Examination) -> None:
        try:
            async with self._turns:
                examination.begun = True
                examination.verdict = await self._examine(
                    examination.growing, examination.plan_path, examination.terms, examination.on_progress
                )
        except asyncio.CancelledError:
            self._kept.pop(blob, None)
            raise
        except Exception as error:
            self._kept.pop(blob, None)
            if error is not examination.objection:
                _log.warning("examination_failed", extra={"blob": blob, "reason": str(error)})

    async def _ended(self, examination: Examination, on_progress: OnProgress) -> Verdict | None:
        """Wait for the end of one that is under way; one that has not begun is no use."""
        assert examination.task is not None
        if not examination.begun:
            examination.give_up()
        examination.listen(on_progress)
        try:
            await asyncio.wait({examination.task})
        except asyncio.CancelledError:
            examination.give_up()
            raise
        if examination.objection is not None:
            raise examination.objection
        return examination.verdict

    def _move(self, plan: str, to: str) -> None:
        """Give a plan its new name, and make that safe."""
        self._disk.rename(plan, to)
        self._disk.sync_folder(to.rpartition("/")[0])

    def _remove_unknown(self) -> None:
        """Remove plans without an examination, and what one that was ended by force had begun to write."""
        known = {_name(blob) for blob in self._kept}
        for name in self._disk.names(self._folder):
            if name.partition(".")[0] not in known:
                self._disk.remove(f"{self._folder}/{name}")

    def _clear(self) -> None:
        self._disk.make_folder(self._folder)
        for name in self._disk.names(self._folder):
            self._disk.remove(f"{self._folder}/{name}")


def _name(blob: str) -> str:
    return blob.rpartition("/")[2]


def _nobody() -> None:
    return None


Taking = Callable[[str, Terms, str, OnProgress], Awaitable[Verdict | None]]
"""How a batch takes over what was examined: `Examinations.take`."""


async def nothing_examined(_: str, __: Terms, ___: str, ____: OnProgress) -> Verdict | None:
    """Where nothing is examined."""
    return None
