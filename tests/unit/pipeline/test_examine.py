"""Inputs that are examined while they arrive: what a batch takes over, and when it does not."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from batchyard.domain.errors import Conflict, Unavailable
from batchyard.pipeline.examine import Examinations, Growing
from batchyard.pipeline.heavy import Terms
from batchyard.pipeline.plan import Plan
from batchyard.pipeline.validate import OnProgress, Verdict, validate
from batchyard.wiring.lines import line_dialect
from tests.simulation.disk import Faults, FaultyDisk
from tests.support.house import a_disk
from tests.support.request_lines import CHAT, a_line
from tests.support.tenants import TurnsOffload

BLOB, PLACE, PATH, PLAN = "files/one", "/data/new", "/data/one", "/data/run/plan"
TERMS = Terms(CHAT, frozenset({"m"}))


class Examiner:
    """Examinations on a disk, of files that grow as the test says."""

    def __init__(self, disk: FaultyDisk) -> None:
        self.disk = disk
        self.begun: list[Growing] = []
        self.error: Exception | None = None
        self.all = Examinations(disk, TurnsOffload(), "/data/examined", self.examine, self.terms, self.path, 1)

    def terms(self, first_line: bytes) -> Terms | None:
        return TERMS if CHAT.encode() in first_line else None

    def path(self, blob: str) -> str:
        return f"/data/{blob.rpartition('/')[2]}"

    async def examine(self, growing: Growing, plan_path: str, terms: Terms, on_progress: OnProgress) -> Verdict:
        self.begun.append(growing)
        grew = asyncio.Event()
        growing.follow(grew.set)
        while not growing.whole:
            await grew.wait()
            grew.clear()
        if self.error is not None:
            raise self.error
        dialect = line_dialect("r", terms)
        return validate(self.disk, growing.path, plan_path, dialect, dedupe=True, on_progress=on_progress)

    def write(self, path: str, data: bytes) -> int:
        self.disk.open(path, create=True).append(data)
        return len(data)

    async def arrive(self, data: bytes, blob: str = BLOB) -> None:
        """A whole file, examined to its end."""
        examination = self.all.begin(blob, PLACE, data.partition(b"\n")[0])
        assert examination is not None
        self.write(self.path(blob), data)
        examination.whole(len(data))
        assert examination.task is not None
        await asyncio.wait({examination.task})

    async def kept(self) -> list[str]:
        """What is on the disk once it was tidied."""
        await self.all.tidy()
        return self.disk.names("/data/examined")

    async def take(self, terms: Terms = TERMS, blob: str = BLOB) -> Verdict | None:
        return await self.all.take(blob, terms, PLAN, ignore)


def ignore(_: int, __: int) -> None:
    return None


@asynccontextmanager
async def examining() -> AsyncGenerator[Examiner]:
    disk = a_disk()
    disk.make_folder("/data/run")
    examiner = Examiner(disk)
    await examiner.all.clear()
    async with asyncio.TaskGroup() as group:
        duty = group.create_task(examiner.all.run())
        await asyncio.sleep(0)
        yield examiner
        duty.cancel()


def lines(count: int = 3) -> bytes:
    return b"".join(a_line(f"l{number}") + b"\n" for number in range(count))


async def test_a_batch_takes_over_the_plan_once() -> None:
    async with examining() as examiner:
        await examiner.arrive(lines())
        verdict = await examiner.take()
        assert verdict is not None and (verdict.lines, verdict.by_model) == (3, {"m": 3})
        assert Plan.open(examiner.disk, PLAN).lines == 3
        assert await examiner.kept() == []
        assert await examiner.take() is None


async def test_a_plan_that_was_taken_survives_a_power_cut() -> None:
    async with examining() as examiner:
        await examiner.arrive(lines())
        examiner.disk.sync_folder("/data")
        assert await examiner.take() is not None
    assert PLAN in examiner.disk.cut(Faults()).files()


@pytest.mark.parametrize("terms", [Terms("/v1/embeddings", frozenset({"m"})), Terms(CHAT, frozenset({"m", "more"}))])
async def test_a_batch_with_other_terms_takes_nothing(terms: Terms) -> None:
    async with examining() as examiner:
        await examiner.arrive(lines())
        assert await examiner.take(terms) is None
        assert await examiner.take() is not None, "it is still there for a batch with these"


async def test_bad_lines_are_told_without_a_plan() -> None:
    async with examining() as examiner:
        await examiner.arrive(lines() + b"{\n")
        verdict = await examiner.take()
        assert verdict is not None and [each.code for each in verdict.errors] == ["invalid_json_line"]
        assert not examiner.disk.exists(PLAN)
        assert await examiner.kept() == []


@pytest.mark.parametrize(
    "first_line", [b"{", b"[]", b'{"url": "/v1/none", "body": {}}', b'{"url": 1, "body": {}}', b""]
)
async def test_what_is_no_batch_input_is_not_examined(first_line: bytes) -> None:
    async with examining() as examiner:
        assert examiner.all.begin(BLOB, PLACE, first_line) is None
        assert await examiner.take() is None


async def test_one_at_a_time_is_examined_and_who_waits_is_of_no_use() -> None:
    async with examining() as examiner:
        first = examiner.all.begin(BLOB, PLACE, a_line())
        second = examiner.all.begin("files/two", "/data/other", a_line())
        assert first is not None and second is not None
        await asyncio.sleep(0)
        assert len(examiner.begun) == 1
        assert await examiner.take(blob="files/two") is None
        first.whole(examiner.write(PATH, lines()))
        assert await examiner.take() is not None
        assert len(examiner.begun) == 1


async def test_a_batch_waits_for_an_examination_under_way_and_may_object() -> None:
    async with examining() as examiner:
        data = lines()
        examination = examiner.all.begin(BLOB, PLACE, a_line())
        assert examination is not None
        await asyncio.sleep(0)
        examiner.write(PATH, data)

        def object_(_: int, __: int) -> None:
            raise Conflict("too many")

        async with asyncio.TaskGroup() as group:
            taking = group.create_task(_objection(examiner, object_))
            await asyncio.sleep(0)
            assert not taking.done()
            examination.whole(len(data))
        assert taking.result() == "too many"
        assert await examiner.kept() == []


async def test_who_objects_to_what_was_found_leaves_no_plan() -> None:
    async with examining() as examiner:
        await examiner.arrive(lines())
        asked: list[int] = []

        def object_(_: int, count: int) -> None:
            asked.append(count)
            raise Conflict("too many")

        assert await _objection(examiner, object_) == "too many"
        assert asked == [3] and await examiner.kept() == []


async def _objection(examiner: Examiner, on_progress: OnProgress) -> str:
    try:
        await examiner.all.take(BLOB, TERMS, PLAN, on_progress)
    except Conflict as told:
        return told.message
    return ""


async def test_an_examination_that_fails_costs_nothing_but_itself() -> None:
    async with examining() as examiner:
        examiner.error = Unavailable("no process")
        await examiner.arrive(lines())
        assert await examiner.take() is None
        examiner.error = None
        await examiner.arrive(lines(), "files/two")
        assert await examiner.take(blob="files/two") is not None


async def test_one_that_is_given_up_is_forgotten() -> None:
    async with examining() as examiner:
        examination = examiner.all.begin(BLOB, PLACE, a_line())
        assert examination is not None and examination.task is not None
        await asyncio.sleep(0)
        examination.give_up()
        await asyncio.wait({examination.task})
        assert await examiner.take() is None


async def test_what_is_about_bytes_that_are_gone_is_tidied_away() -> None:
    async with examining() as examiner:
        await examiner.arrive(lines())
        await examiner.arrive(lines(), "files/two")
        examiner.write("/data/examined/three.new", b"of a process that was killed")
        examiner.disk.remove(PATH)
        assert await examiner.kept() == ["two"]


async def test_a_start_removes_what_was_left() -> None:
    async with examining() as examiner:
        examiner.write("/data/examined/old", b"x")
        await examiner.all.clear()
        assert examiner.disk.names("/data/examined") == []
