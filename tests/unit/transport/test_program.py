"""A program is started, waited for, watched, started again and stopped, and nothing of it is ever left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from batchyard.transport.life import CannotStart, Launch, Life, Patience
from batchyard.transport.loopback import free_port, get
from batchyard.transport.program import Program
from tests.support.processes import all_end_within

FAKE = Path(__file__).parents[2] / "support" / "fake_program.py"
QUICK = Patience(start_seconds=20, stop_seconds=5, probe_seconds=5, probe_interval_seconds=0.01, backoff_seconds=0.01)


def fake(*words: str, **behaviour: str) -> Launch:
    port = free_port()
    command = (sys.executable, "-I", "-S", str(FAKE), "--port", str(port), *words)
    environment = {f"FAKE_{name.upper()}": value for name, value in behaviour.items()}
    return Launch(title="fake", words=command, port=port, environment=environment)


@asynccontextmanager
async def running(
    tmp_path: Path, launch: Callable[[], Launch] = fake, patience: Patience = QUICK
) -> AsyncGenerator[tuple[Program, Life]]:
    program = Program(launch, tmp_path / "logs" / "fake.log", patience)
    life = await program.start()
    try:
        yield program, life
    finally:
        await program.stop()


async def next_life(program: Program) -> Life:
    return await program.ready(20)


async def test_a_started_program_answers_on_its_port(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, life):
        status, body = await get(life.launch.port, "/openapi.json")
    assert status == 200
    assert b"/v1/completions" in body


async def test_start_waits_until_the_program_is_healthy(tmp_path: Path) -> None:
    async with running(tmp_path, lambda: fake(unready_probes="3")) as (_, life):
        assert await life.is_healthy()


async def test_a_program_that_exits_while_starting_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    program = Program(lambda: fake(refuse="no such model: tiny"), tmp_path / "fake.log", QUICK)
    with pytest.raises(CannotStart, match="exit code 3") as caught:
        await program.start()
    assert caught.value.lines[-1] == "no such model: tiny"
    assert caught.value.log == tmp_path / "fake.log"


async def test_a_program_that_cannot_be_executed_is_reported(tmp_path: Path) -> None:
    launch = Launch(title="nothing", words=(str(tmp_path / "nothing"),), port=free_port())
    with pytest.raises(CannotStart, match="exit code 127") as caught:
        await Program(lambda: launch, tmp_path / "fake.log", QUICK).start()
    assert "No such file" in caught.value.lines[-1]


async def test_a_log_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(CannotStart, match="cannot be started"):
        await Program(fake, tmp_path / "logs" / "fake.log", QUICK).start()


async def test_a_program_that_hangs_while_starting_is_given_up_and_killed(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    hurry = Patience(start_seconds=1, stop_seconds=5, probe_interval_seconds=0.01)
    with pytest.raises(CannotStart, match="was not ready within 1 s"):
        await Program(lambda: fake(hang="1", lives=str(lives)), tmp_path / "fake.log", hurry).start()
    assert all_end_within([int(lives.read_text().split()[0])], 10)


async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    children = tmp_path / "children"
    program = Program(lambda: fake(hang="1", fork=str(children)), tmp_path / "fake.log", QUICK)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await program.start()
    assert all_end_within(map(int, children.read_text().split()), 10)


async def test_a_program_that_dies_is_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as (program, life):
        assert life.pid is not None
        os.kill(life.pid, signal.SIGKILL)
        await life.ended.wait()
        second = await next_life(program)
        assert second is not life
        assert await second.is_healthy()
        assert program.restarts == 1
    assert life.how_it_ended() == "signal SIGKILL"


async def test_a_new_life_has_a_launch_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as (program, life):
        await life.stop(now=True)
        second = await next_life(program)
        assert second.launch.port != life.launch.port


async def test_whoever_asks_while_a_restart_fails_is_told_why_and_the_next_restart_serves_them(tmp_path: Path) -> None:
    refusal = tmp_path / "refusal"
    patience = Patience(start_seconds=20, stop_seconds=5, probe_interval_seconds=0.01, backoff_seconds=0.2)

    async with running(tmp_path, lambda: fake(refuse="out of memory", refuse_after=str(refusal)), patience) as it:
        program, life = it
        refusal.touch()
        await life.stop(now=True)
        with pytest.raises(CannotStart) as caught:
            await next_life(program)
        assert caught.value.lines[-1] == "out of memory"
        refusal.unlink()
        assert await (await first_that_serves(program)).is_healthy()


async def first_that_serves(program: Program) -> Life:
    while True:
        try:
            return await next_life(program)
        except CannotStart:
            await asyncio.sleep(0)


async def test_waiting_for_a_restart_is_bounded(tmp_path: Path) -> None:
    hanging = tmp_path / "hanging"

    def launch() -> Launch:
        return fake(hang="1") if hanging.exists() else fake()

    async with running(tmp_path, launch) as (program, life):
        hanging.touch()
        await life.stop(now=True)
        with pytest.raises(CannotStart, match="still being started"):
            await program.ready(0.05)


async def test_stop_ends_the_program_with_all_that_it_forked(tmp_path: Path) -> None:
    children = tmp_path / "children"
    async with running(tmp_path, lambda: fake(fork=str(children))) as (_, life):
        pids = [life.pid or 0, *map(int, children.read_text().split())]
    assert len(pids) == 3
    assert all_end_within(pids, 0)


@pytest.mark.parametrize("chatty", ["", "1"])
async def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path, chatty: str) -> None:
    patience = Patience(start_seconds=20, stop_seconds=0.3, probe_interval_seconds=0.01)
    async with running(tmp_path, lambda: fake(stubborn="1", chatty=chatty), patience) as (_, life):
        pass
    assert life.how_it_ended() == "signal SIGKILL"
    assert all_end_within([life.pid or 0], 0)


async def test_a_program_that_obeys_sigterm_is_not_killed(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, life):
        pass
    assert life.how_it_ended() == "signal SIGTERM"


async def test_the_death_of_the_program_takes_its_children_along(tmp_path: Path) -> None:
    children = tmp_path / "children"
    async with running(tmp_path, lambda: fake(fork=str(children))) as (_, life):
        assert life.pid is not None
        pids = list(map(int, children.read_text().split()))
        os.kill(life.pid, signal.SIGKILL)
        await life.ended.wait()
        assert all_end_within(pids, 0)


async def test_the_death_of_the_guard_takes_the_program_along(tmp_path: Path) -> None:
    async with running(tmp_path) as (program, life):
        assert life.pid is not None
        os.kill(_parent(life.pid), signal.SIGKILL)
        await life.ended.wait()
        assert all_end_within([life.pid], 10)
        assert await (await next_life(program)).is_healthy()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


OWNER = """
import asyncio, sys
from pathlib import Path
from batchyard.transport.life import Launch, Patience
from batchyard.transport.program import Program

async def main() -> None:
    port = int(sys.argv[3])
    launch = Launch(title="fake", words=tuple(sys.argv[2:]), port=port)
    program = Program(lambda: launch, Path(sys.argv[1]), Patience(stop_seconds=0.5, probe_interval_seconds=0.01))
    life = await program.start()
    print(life.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("stubborn", ["", "1"])
def test_our_own_kill_leaves_no_process(tmp_path: Path, stubborn: str) -> None:
    children, launch = tmp_path / "children", fake()
    script = tmp_path / "owner.py"
    script.write_text(textwrap.dedent(OWNER).replace("sys.argv[3]", "sys.argv[sys.argv.index('--port') + 1]"))
    environment = {**os.environ, "FAKE_FORK": str(children), "FAKE_STUBBORN": stubborn}
    command = [sys.executable, str(script), str(tmp_path / "log"), *launch.words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        pids = [pid, _parent(pid), *map(int, children.read_text().split())]
        owner.kill()
    assert all_end_within(pids, 20)


def test_it_works_on_uvloop(tmp_path: Path) -> None:
    async def die_and_live_again() -> list[str]:
        async with running(tmp_path) as (program, first):
            os.kill(first.pid or 0, signal.SIGKILL)
            await first.ended.wait()
            second = await next_life(program)
        return [first.how_it_ended(), second.how_it_ended()]

    assert uvloop.run(die_and_live_again()) == ["signal SIGKILL", "signal SIGTERM"]


async def test_the_logs_of_earlier_lives_are_kept_beside_the_current_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (program, life):
        await life.stop(now=True)
        await next_life(program)
    names = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert names == ["fake.log", "fake.log.1"]
    assert "fake server starting" in (tmp_path / "logs" / "fake.log.1").read_text()


async def test_a_log_that_is_full_begins_anew(tmp_path: Path) -> None:
    chatty = Launch(title="chatty", words=("/bin/sh", "-c", "seq 1 20000; exit 1"), port=free_port())
    small = Patience(start_seconds=20, probe_interval_seconds=0.01, log_bytes=70000)
    log = tmp_path / "fake.log"
    with pytest.raises(CannotStart) as caught:
        await Program(lambda: chatty, log, small).start()
    assert caught.value.lines[-1] == "20000"
    assert log.stat().st_size <= 70000
    assert log.with_name("fake.log.1").stat().st_size <= 70000
