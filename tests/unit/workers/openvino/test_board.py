"""The board against a pipeline that breaks as OpenVINO's does: after it has thrown, it always throws."""

from collections.abc import Callable, Sequence
from typing import Any

from batchyard.workers.openvino.board import MOST_CANCELLED, Board, Draft, Generated, Interrupted, Reader


class FragilePipeline:
    """Writes a prompt's ids back, one per step. `poison` in a configuration breaks it at a step or at the door."""

    def __init__(self) -> None:
        self.broken = False
        self.handles: list[Writing] = []

    @property
    def has_cancelled(self) -> bool:
        return any(handle.cancelled for handle in self.handles)

    def add(self, ids: Sequence[int], config: Any) -> "Writing":
        if config == "poison at the door":
            raise RuntimeError("not with me")
        handle = Writing(ids, config, self)
        self.handles.append(handle)
        return handle

    def step(self) -> None:
        if self.broken or any(handle.config == "poison" and handle.running() for handle in self.handles):
            self.broken = True
            raise RuntimeError("already in scheduling phase")
        for handle in self.handles:
            handle.written += 1


class Writing:
    def __init__(self, ids: Sequence[int], config: Any, pipeline: FragilePipeline) -> None:
        self.ids = ids
        self.pipeline = pipeline
        self.config = config
        self.written = 0
        self.read = 0
        self.cancelled = False

    def running(self) -> bool:
        return self.written < len(self.ids) and not self.cancelled

    def cancel(self) -> None:
        self.cancelled = True

    def fresh(self) -> Generated:
        first, self.read = self.read, min(self.written, len(self.ids))
        return Generated(self.ids[first : self.read], [0.0] * (self.read - first), "")

    def result(self) -> Generated:
        if self.config == "ignored" or (self.config == "no room" and self.pipeline.has_cancelled):
            raise RuntimeError("ended as IGNORED")
        return Generated(self.ids, [0.0] * len(self.ids), "stop")


class Ear:
    """Keeps what is read aloud."""

    def __init__(self) -> None:
        self.has_begun = False
        self.heard: list[int] = []

    def read(self, news: Generated) -> None:
        self.has_begun = self.has_begun or bool(news.ids)
        self.heard += news.ids


class Desk:
    """Puts drafts on a board and keeps what comes of them, by name."""

    def __init__(self) -> None:
        self.pipelines: list[FragilePipeline] = []
        self.board = Board(self._build)
        self.done: dict[str, Generated | Exception] = {}
        self.asked: set[str] = set()
        self.given_up: set[str] = set()

    def _build(self) -> FragilePipeline:
        self.pipelines.append(FragilePipeline())
        return self.pipelines[-1]

    def put(self, name: str, length: int = 2, config: str = "", reader: Reader | None = None) -> None:
        self.asked.add(name)
        self.board.put(Draft(range(length), config, self._noting(name), lambda: name in self.given_up, reader))

    def _noting(self, name: str) -> Callable[[Generated | Exception], None]:
        def note(result: Generated | Exception) -> None:
            assert name not in self.done
            self.done[name] = result

        return note

    def finish(self) -> None:
        for _ in range(200):
            if self.asked <= set(self.done) | self.given_up:
                return
            self.board.turn()
        raise AssertionError(f"still waiting for {self.asked - set(self.done)}")


def test_drafts_step_together_and_leave_as_they_end() -> None:
    desk = Desk()
    for name, length in (("long", 5), ("short", 1)):
        desk.put(name, length)
    desk.board.turn()
    assert set(desk.done) == {"short"}
    desk.put("late", 1)
    desk.finish()
    assert all(isinstance(result, Generated) for result in desk.done.values())
    assert len(desk.pipelines[0].handles) == 3


def test_one_that_breaks_the_pipeline_harms_nobody_else() -> None:
    desk = Desk()
    for name in "abc":
        desk.put(name, 3)
    desk.put("bad", 3, "poison")
    desk.put("d", 3)
    desk.board.turn()
    desk.put("late", 3)
    desk.finish()
    assert isinstance(desk.done.pop("bad"), RuntimeError)
    assert set(desk.done) == {"a", "b", "c", "d", "late"}
    assert all(isinstance(result, Generated) for result in desk.done.values())
    # Once for all on board, once more for the one that broke it alone.
    assert desk.board.rebuilt == 2


def test_one_that_breaks_it_alone_is_told_at_once() -> None:
    desk = Desk()
    desk.put("bad", 1, "poison")
    desk.put("worse", 1, "poison at the door")
    desk.finish()
    assert all(isinstance(result, RuntimeError) for result in desk.done.values())


def test_one_that_is_given_up_leaves_at_once() -> None:
    desk = Desk()
    desk.put("endless", 10_000)
    desk.put("b", 3)
    desk.board.turn()
    desk.given_up.add("endless")
    desk.finish()
    assert "endless" not in desk.done
    assert desk.pipelines[0].handles[0].cancelled
    desk.given_up.add("never")
    desk.put("never", 1)
    desk.put("after", 1)
    desk.finish()
    assert "never" not in desk.done


def test_one_that_the_pipeline_ends_by_itself_is_told_why() -> None:
    desk = Desk()
    desk.put("too large", 1, "ignored")
    desk.finish()
    assert isinstance(desk.done["too large"], RuntimeError)


def test_one_that_finds_no_room_after_cancels_runs_again_in_a_new_pipeline() -> None:
    """What is cancelled leaves its room taken; nobody else may pay for that."""
    desk = Desk()
    desk.put("endless", 10_000)
    desk.board.turn()
    desk.put("crowded out", 1, "no room")
    desk.put("beside", 5)
    desk.given_up.add("endless")
    desk.finish()
    assert len(desk.pipelines) == 2
    assert {name for name, result in desk.done.items() if isinstance(result, Generated)} == {"crowded out", "beside"}


def test_after_some_cancels_the_pipeline_is_built_anew_once_nobody_is_on_board() -> None:
    desk = Desk()
    for number in range(MOST_CANCELLED):
        desk.put(f"endless {number}", 10_000)
        desk.put(f"short {number}", 1)
        desk.board.turn()
        desk.given_up.add(f"endless {number}")
        desk.finish()
    desk.put("last", 1)
    desk.finish()
    assert len(desk.pipelines) == 2


def test_a_reader_hears_after_each_step_what_is_new() -> None:
    desk, ear = Desk(), Ear()
    desk.put("a", 4, reader=ear)
    desk.put("b", 2)
    for step in range(1, 4):
        desk.board.turn()
        assert ear.heard == list(range(step))
    desk.finish()
    result = desk.done["a"]
    assert isinstance(result, Generated) and list(result.ids) == [0, 1, 2, 3]


def test_one_that_has_said_something_is_not_begun_again() -> None:
    desk, heard, silent = Desk(), Ear(), Ear()
    desk.put("heard", 5, reader=heard)
    desk.board.turn()
    desk.put("silent", 5, reader=silent)
    desk.put("bad", 3, "poison")
    desk.put("b", 3)
    desk.finish()
    assert isinstance(desk.done["heard"], Interrupted) and heard.heard == [0]
    assert all(isinstance(desk.done[name], Generated) for name in ("silent", "b"))
    assert silent.heard == [0, 1, 2, 3]
