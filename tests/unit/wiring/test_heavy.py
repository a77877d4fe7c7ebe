"""Heavy steps in real processes: they find and write what threads do, whatever becomes of the processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from batchyard.disks.local import LocalDisk
from batchyard.domain.batch import Form
from batchyard.domain.errors import Conflict, Unavailable
from batchyard.domain.result import Answer, Outcome, Result, Usage
from batchyard.journals.disk import open_journal
from batchyard.pipeline.examine import Growing
from batchyard.pipeline.folder import opened
from batchyard.pipeline.heavy import Check, Heavy, InThreads, Terms, Writing
from batchyard.pipeline.validate import Verdict
from batchyard.wiring.heavy.processes import Died, Process, Processes
from batchyard.wiring.heavy.steps import InProcesses
from batchyard.wiring.heavy.wire import Kind, Progress, ToValidate, error_of, trouble_of
from batchyard.wiring.lines import line_dialect
from tests.support.processes import ENVIRONMENT, ended_within
from tests.support.request_lines import CHAT, a_line
from tests.support.serving import inline

T = TypeVar("T")
TERMS = Terms(CHAT, frozenset({"m"}))
LINES = 30_000
"""Enough to be told of progress once: 8 MB."""

pytestmark = pytest.mark.usefixtures("importable")


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes import what the tests import."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def content(lines: int = 40, pad: int = 0) -> bytes:
    """Lines of which every tenth asks what the first one asks."""
    texts = ("again" if number % 10 == 0 else f"text {number}" for number in range(lines))
    made = (a_line(f"l{n}", content=text + "x" * pad, temperature=0) for n, text in enumerate(texts))
    return b"".join(line + b"\n" for line in made)


def written(folder: Path, data: bytes) -> Check:
    """A check of a file in a folder, which becomes the run's."""
    (folder / "in.jsonl").write_bytes(data)
    return Check(
        disk=LocalDisk(),
        small=False,
        input_path=f"{folder}/in.jsonl",
        plan_path=f"{folder}/plan",
        run_id="batch_1",
        terms=TERMS,
        dialect=line_dialect("batch_1", TERMS),
    )


@asynccontextmanager
async def steps(heavy_bytes: int = 1) -> AsyncGenerator[InProcesses]:
    heavy = InProcesses(InThreads(LocalDisk(), 1), 1, heavy_bytes)
    try:
        yield heavy
    finally:
        await heavy.close()


def ignore(*_: Any) -> None:
    return None


def write_at(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


async def checked(heavy: Heavy, check: Check) -> tuple[Verdict, bytes]:
    verdict = await heavy.validate(check, inline, ignore)
    return verdict, read(check.plan_path)


async def result_files(heavy: Heavy, folder: Path, check: Check, form: Form) -> tuple[object, bytes, bytes]:
    """The files that a run with a result for every other line, and errors for the rest, ends with."""
    disk = LocalDisk()
    async with opened(disk, inline, lambda at, lines: open_journal(disk, inline, at, lines), str(folder),
                      check.input_path) as run:  # fmt: skip
        for place, entry in run.plan.entries():
            if entry.leader < 0:
                outcome = Outcome.SUCCEEDED if place % 2 else Outcome.ERRORED
                answer = Answer(200 if place % 2 else 400, b'{"n":%d}' % place, f"r{place}", Usage(place, 1))
                run.journal.append(Result(place, f"l{place}", outcome, answer))
        await run.journal.flush()
        writing = Writing(
            small=False, folder=str(folder), journal_folder=f"{folder}/journal", input_path=check.input_path,
            output=f"{folder}/out", errors=f"{folder}/err", run_id="batch_1", terms=TERMS, form=form,
            dialect=line_dialect("batch_1", TERMS, form), run=run,
        )  # fmt: skip
        told = await heavy.finalize(writing, inline, ignore)
    return told, (folder / "out").read_bytes(), (folder / "err").read_bytes()


@pytest.mark.parametrize("data", [content(), content() + b"{\n" + a_line("l1") + b"\n", b"", b"\n"])
async def test_a_process_finds_what_a_thread_finds(tmp_path: Path, data: bytes) -> None:
    check = written(tmp_path, data)
    expected = await checked(InThreads(LocalDisk(), 1), check)
    async with steps(0) as heavy:
        assert await checked(heavy, check) == expected


@pytest.mark.parametrize("form", [Form.OPENAI, Form.NEBIUS])
async def test_a_process_writes_what_a_thread_writes(tmp_path: Path, form: Form) -> None:
    check = written(tmp_path, content())
    await checked(InThreads(LocalDisk(), 1), check)
    expected = await result_files(InThreads(LocalDisk(), 1), tmp_path, check, form)
    async with steps() as heavy:
        assert await result_files(heavy, tmp_path, check, form) == expected
    assert b'{"n":1}' in expected[1]


async def test_a_small_input_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> Process:
        raise AssertionError("a process was started")

    monkeypatch.setattr(Process, "start", never)
    check = written(tmp_path, content())
    async with steps(heavy_bytes=1 << 20) as heavy:
        await checked(heavy, check)


async def test_who_objects_to_going_on_stops_the_step_and_leaves_no_plan(tmp_path: Path) -> None:
    check = written(tmp_path, content(LINES, pad=300))

    def object_(_: int, __: int) -> None:
        raise Conflict("not this one")

    async with steps() as heavy:
        with pytest.raises(Conflict, match="not this one"):
            await heavy.validate(check, inline, object_)
        assert not LocalDisk().exists(check.plan_path)
        assert (await checked(heavy, check))[0].lines == LINES


async def test_what_the_disk_says_comes_back(tmp_path: Path) -> None:
    check = written(tmp_path, content())
    (tmp_path / "plan").mkdir()
    async with steps() as heavy:
        with pytest.raises(OSError) as told:
            await heavy.validate(check, inline, ignore)
    assert told.value.errno


def test_errors_of_ours_keep_their_class_and_words() -> None:
    error = error_of(trouble_of(Conflict("It changed.", remedy="Put it back.", reason="changed")))
    assert isinstance(error, Conflict)
    assert (error.message, error.remedy, error.reason) == ("It changed.", "Put it back.", "changed")
    assert isinstance(error_of(trouble_of(ZeroDivisionError("by zero"))), Unavailable)


def to_validate(check: Check) -> ToValidate:
    return ToValidate(
        input_path=check.input_path, plan_path=check.plan_path, run_id="r", terms=TERMS, dedupe=True,
        max_line_bytes=1 << 20,
    )  # fmt: skip


async def test_the_step_of_a_killed_process_ends_with_it(tmp_path: Path) -> None:
    check, processes = written(tmp_path, content(LINES, pad=300)), Processes(1)

    async with processes.one() as process:
        with pytest.raises(Died, match="SIGKILL"):
            await process.carry_out(Kind.VALIDATE, to_validate(check), lambda _: os.kill(process.pid, signal.SIGKILL))
    await processes.close()
    assert processes.idle == []


@pytest.mark.parametrize("deaths", [1, 2])
async def test_a_step_is_done_again_once_where_its_process_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    check = written(tmp_path, content())
    expected = await checked(InThreads(LocalDisk(), 1), check)
    started: list[Process] = []
    start = Process.start

    async def doomed() -> Process:
        process = await start()
        started.append(process)
        if len(started) <= deaths:
            os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(Process, "start", doomed)
    async with steps() as heavy:
        if deaths == 1:
            assert await checked(heavy, check) == expected
        else:
            with pytest.raises(Unavailable, match="SIGKILL"):
                await checked(heavy, check)


async def test_one_process_does_step_after_step_and_ends_when_it_is_idle(tmp_path: Path) -> None:
    check, processes = written(tmp_path, content()), Processes(1, idle_seconds=0.05)
    pids = set[int]()
    for _ in range(3):
        async with processes.one() as process:
            pids.add(process.pid)
            assert await process.carry_out(Kind.VALIDATE, to_validate(check), ignore)
    (pid,) = pids
    assert await asyncio.to_thread(ended_within, pid, 20)
    await processes.close()


async def test_a_step_that_nobody_waits_for_any_more_is_not_done(tmp_path: Path) -> None:
    check, processes = written(tmp_path, content(LINES, pad=300)), Processes(1)
    begun = asyncio.Event()

    async def wait() -> None:
        async with processes.one() as process:
            await process.carry_out(Kind.VALIDATE, to_validate(check), lambda _: begun.set())

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait())
        await begun.wait()
        waiting.cancel()
    async with processes.one() as process:
        assert await process.carry_out(Kind.VALIDATE, to_validate(check), ignore)
    await processes.close()


async def test_an_input_is_examined_while_it_grows(tmp_path: Path) -> None:
    data = content(LINES, pad=300)
    check = written(tmp_path, data)
    expected = await checked(InThreads(LocalDisk(), 1), check)
    (tmp_path / "in.jsonl").unlink()
    place, heard, growing = tmp_path / "new", list[Progress](), Growing(f"{tmp_path}/new", check.input_path)
    half = len(data) * 2 // 3
    place.write_bytes(data[:half] + b"\0" * 1000)  # what is not told of is not read
    growing.grow(half)
    read_so_far = asyncio.Event()

    def on_progress(size: int, lines: int) -> None:
        heard.append(Progress(size, lines))
        read_so_far.set()

    async with steps() as heavy, asyncio.TaskGroup() as group:
        examining = group.create_task(heavy.examine(growing, f"{tmp_path}/examined", TERMS, on_progress))
        await read_so_far.wait()
        assert not examining.done()
        write_at(place, half, data[half:])
        place.rename(check.input_path)
        growing.grow(len(data), whole=True)
        assert (await examining, (tmp_path / "examined").read_bytes()) == expected
    assert heard[-1] == Progress(len(data), LINES)


def policies(pid: int) -> set[int]:
    """How the threads of a process are scheduled."""
    return {os.sched_getscheduler(int(thread.name)) for thread in Path(f"/proc/{pid}/task").iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has threads that run where no other wants to")
async def test_while_a_file_grows_its_examination_lets_all_others_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, started, start = content(LINES, pad=300), list[Process](), Process.start

    async def noted() -> Process:
        started.append(await start())
        return started[-1]

    monkeypatch.setattr(Process, "start", noted)
    growing, read_so_far = Growing(f"{tmp_path}/new", f"{tmp_path}/in.jsonl"), asyncio.Event()
    (tmp_path / "new").write_bytes(data)
    growing.grow(len(data) - 1)
    async with steps() as heavy, asyncio.TaskGroup() as group:
        look = heavy.examine(growing, f"{tmp_path}/examined", TERMS, lambda _, __: read_so_far.set())
        examining = group.create_task(look)
        await read_so_far.wait()
        (process,) = started
        assert policies(process.pid) == {os.SCHED_OTHER, os.SCHED_IDLE}
        growing.grow(len(data), whole=True)
        assert (await examining).lines == LINES
        assert policies(process.pid) == {os.SCHED_OTHER}


async def test_an_examination_given_up_leaves_no_process_that_waits(tmp_path: Path) -> None:
    data = content()
    (tmp_path / "new").write_bytes(data)
    growing = Growing(f"{tmp_path}/new", f"{tmp_path}/in.jsonl")
    growing.grow(len(data) // 2)
    async with steps() as heavy:
        async with asyncio.TaskGroup() as group:
            examining = group.create_task(heavy.examine(growing, f"{tmp_path}/examined", TERMS, ignore))
            await asyncio.sleep(0)
            examining.cancel()
        assert not (tmp_path / "examined").exists()
