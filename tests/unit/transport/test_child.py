import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import uvloop

from batchyard.transport import child as child_module
from batchyard.transport.child import OUTPUT_LINES, Child, Exit
from batchyard.transport.frames import Frame
from tests.support.processes import ENVIRONMENT, ended_within
from tests.support.talkative_child import DEAFEN, ECHO, EXIT, PRINT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="socket pairs are inherited")


class Heard:
    """What a child said, and how it ended."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.exits: list[Exit] = []


@asynccontextmanager
async def a_child(*, own_session: bool = True) -> AsyncGenerator[tuple[Child, Heard]]:
    heard = Heard()
    child = await Child.spawn(
        "tests.support.talkative_child",
        on_frame=heard.frames.put_nowait,
        on_exit=heard.exits.append,
        environment=ENVIRONMENT,
        own_session=own_session,
    )
    try:
        yield child, heard
    finally:
        child.kill()
        await child.close()


async def test_a_frame_goes_there_and_back() -> None:
    async with a_child() as (child, heard):
        sent = Frame(7, ECHO, os.urandom(1 << 20))
        child.send(sent)
        assert await heard.frames.get() == sent


@pytest.mark.parametrize("own_session", [True, False])
async def test_a_terminal_asks_us_not_our_child(own_session: bool) -> None:
    """Ctrl-C goes to a group of processes."""
    async with a_child(own_session=own_session) as (child, heard):
        child.send(Frame(1, ECHO, b""))
        await heard.frames.get()
        assert os.getpgid(child.pid) == child.pid
        assert os.getsid(child.pid) == (child.pid if own_session else os.getsid(0))


async def test_a_killed_child_is_known_by_its_signal() -> None:
    async with a_child() as (child, heard):
        os.kill(child.pid, signal.SIGKILL)
        end = await child.wait()
        assert end.reason == "was killed by SIGKILL"
        assert heard.exits == [end]
        assert child.gone


async def test_what_a_child_said_before_it_ended_is_heard_before_its_end() -> None:
    async with a_child() as (child, heard):
        child.send(Frame(3, EXIT, b"farewell"))
        end = await child.wait()
        assert heard.frames.get_nowait() == Frame(3, EXIT, b"farewell")
        assert end.reason == "ended with code 3"


async def test_the_last_words_of_a_child_are_kept_and_go_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    async with a_child() as (child, _):
        words = "".join(f"line {i}\n" for i in range(2 * OUTPUT_LINES)) + "last"
        child.send(Frame(1, PRINT, words.encode()))
        child.send(Frame(1, EXIT))
        end = await child.wait()
        lines = end.output.splitlines()
        assert lines[-1] == "last"
        assert lines[0] == f"line {OUTPUT_LINES}"
        assert capfd.readouterr() == ("", "")


async def test_a_child_goes_when_we_hang_up() -> None:
    async with a_child() as (child, _):
        await child.close()
        assert (await child.wait()).code == 0
        await child.close()


async def test_a_child_that_does_not_go_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "GRACE_SECONDS", 0.05)
    async with a_child() as (child, heard):
        child.send(Frame(1, DEAFEN))
        await heard.frames.get()
        await child.close()
        assert (await child.wait()).code == -signal.SIGKILL


async def test_a_frame_to_a_dead_child_is_dropped() -> None:
    async with a_child() as (child, heard):
        child.kill()
        await child.wait()
        child.send(Frame(1, ECHO, b"hello"))
        assert heard.frames.empty()


async def test_a_program_that_does_not_exist_ends_with_its_complaint() -> None:
    exits: list[Exit] = []
    child = await Child.spawn("batchyard.no_such_module", on_frame=lambda frame: None, on_exit=exits.append)
    end = await child.wait()
    assert end.code == 1
    assert "no_such_module" in end.output
    await child.close()


def test_it_works_on_uvloop() -> None:
    async def talk() -> int:
        async with a_child() as (child, heard):
            child.send(Frame(1, ECHO))
            await heard.frames.get()
            child.kill()
            return (await child.wait()).code

    assert uvloop.run(talk()) == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["listening", "deaf"])
def test_a_child_dies_with_its_parent(kind: str) -> None:
    """A deaf child does not see the socket close: the kernel must end it."""
    if kind == "deaf" and sys.platform != "linux":
        pytest.skip("only Linux ends children of dead parents")
    command = [sys.executable, "-m", "tests.support.spawning_parent", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **ENVIRONMENT}) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        assert ended_within(pid, seconds=20)
