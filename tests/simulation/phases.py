"""Where batches of a simulated server can be when something strikes: says so each time that one comes there."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from msgspec import structs

from batchyard.domain.batch import Batch, BatchState
from batchyard.domain.event import Event
from batchyard.domain.file import File
from batchyard.domain.price import Spent
from batchyard.offload import Offload
from batchyard.pipeline.batch_parts import BatchParts
from batchyard.pipeline.finalize import Written
from batchyard.pipeline.heavy import Check, Heavy, Writing
from batchyard.pipeline.parking import Line, Load, Parking
from batchyard.pipeline.publish import Publisher
from batchyard.pipeline.validate import OnProgress, Verdict
from batchyard.store import Store, TokenRoom

PHASES = (
    "examination",  # of an input that has just arrived
    "gathering",  # of a retry's input: its blob is whole, and nobody knows it
    "validation",
    "parked",  # without room for its tokens
    "planned",  # the plan is there, the state is not moved yet
    "begun",  # it is
    "running",  # some lines have been asked
    "cancelling",  # a caller has just cancelled it
    "finalizing",  # before the result files are written
    "written",  # after it
    "ending",  # they are published, the last move is not made yet
    "ended",  # it is, the run folder is still there
)

Reached = Callable[[str], None]


def watched(parts: BatchParts, reached: Reached) -> BatchParts:
    """Parts that tell where the walks are."""
    gathering = _after(parts.publisher.input_file, "gathering", reached)
    return structs.replace(
        parts,
        store=watched_store(parts.store, reached),
        heavy=_Heavy(parts.heavy, reached),
        publisher=cast("Publisher", _Instead(parts.publisher, input_file=gathering)),
    )


def watched_store(store: Store, reached: Reached) -> Store:
    """A store that tells of moves: before and after they are made."""
    before = {BatchState.IN_PROGRESS: "planned"} | {state: "ending" for state in BatchState if state.terminal}
    after = {BatchState.IN_PROGRESS: "begun", BatchState.CANCELLING: "cancelling"}
    after |= {state: "ended" for state in BatchState if state.terminal}

    async def move(
        state: BatchState,
        batch: Batch,
        event: Event,
        files: Sequence[File] = (),
        room: TokenRoom = TokenRoom(),  # noqa: B008 - frozen
        spent: Sequence[Spent] = (),
    ) -> bool:
        _say(before.get(batch.state), reached)
        moved = await store.batches.move(state, batch, event, files, room, spent)
        if moved:
            _say(after.get(batch.state), reached)
        return moved

    return cast("Store", _Instead(store, batches=_Instead(store.batches, move=move)))


class WatchedParking(Parking):
    """Tells of every batch that is parked."""

    def __init__(self, reached: Reached) -> None:
        super().__init__()
        self._reached = reached

    def park(self, batch: Batch, line: Line, load: Load, seen: int) -> None:
        super().park(batch, line, load, seen)
        self._reached("parked")


class _Heavy:
    """Tells of heavy steps."""

    def __init__(self, heavy: Heavy, reached: Reached) -> None:
        self._heavy = heavy
        self._reached = reached

    async def validate(self, check: Check, offload: Offload, on_progress: OnProgress) -> Verdict:
        self._reached("validation")
        return await self._heavy.validate(check, offload, on_progress)

    async def finalize(self, writing: Writing, offload: Offload, on_progress: Callable[[int], None]) -> Written:
        self._reached("finalizing")
        written = await self._heavy.finalize(writing, offload, on_progress)
        self._reached("written")
        return written


class _Instead:
    """An object with some of its parts replaced."""

    def __init__(self, inner: object, **instead: object) -> None:
        self._inner = inner
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead[name] if name in self._instead else getattr(self._inner, name)


def _after(call: Callable[..., Any], phase: str, reached: Reached) -> Callable[..., Any]:
    async def called(*words: Any) -> Any:
        result = await call(*words)
        reached(phase)
        return result

    return called


def _say(phase: str | None, reached: Reached) -> None:
    if phase is not None:
        reached(phase)
