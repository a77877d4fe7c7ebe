"""The simulation itself: time, order, crashes, and the same again from a seed."""

import asyncio
import contextlib
import os
import subprocess
import sys
from random import Random

import pytest

from tests.simulation.disk import Faults, FaultyDisk, PowerCut
from tests.simulation.loop import Deadlock, SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.offload import InlineOffload
from tests.simulation.trace import Trace
from tests.simulation.upstream import Asked, ScriptedUpstream, Temper, right_text
from tests.simulation.walk import simulate


def test_hours_pass_at_once_and_exactly() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert SimulatedLoop().run(main()) == 3660


def test_waiting_for_nothing_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        SimulatedLoop().run(main())


@pytest.mark.parametrize("step", [1, 2, 5, 9])
def test_a_cut_ends_the_run_at_its_step_and_lets_nothing_reach_the_disk(step: int) -> None:
    disk = FaultyDisk(Random(1), Trace(), Faults())
    disk.make_folder("/yard")
    written: list[int] = []

    async def main() -> None:
        handle = disk.open("/yard/a", create=True)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(3):
                    group.create_task(asyncio.sleep(number))
                for number in range(100):
                    handle.append(b"x")
                    written.append(number)
                    await asyncio.sleep(1)
        finally:
            handle.append(b"finally")

    loop = SimulatedLoop(cut_at_step=step)
    with pytest.raises(PowerCut):
        loop.run_until_complete(main())
    after = disk.kill(Faults())
    loop.drop_everything()
    assert after.files().get("/yard/a", b"") == b"x" * len(written)
    assert loop.steps == step


def test_sets_of_tasks_are_walked_in_the_order_of_their_making() -> None:
    async def main() -> list[int]:
        ended: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.sleep(99)
            finally:
                ended.append(number)

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(wait(number))
                await asyncio.sleep(0)
                raise ValueError
        return ended

    assert SimulatedLoop().run(main()) == list(range(50))


def test_the_inline_offload_keeps_the_order_of_its_calls() -> None:
    async def main() -> list[int]:
        offload, done = InlineOffload(Random(3)), list[int]()
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(offload(lambda number=number: done.append(number)))
        return done

    assert SimulatedLoop().run(main()) == list(range(20))


async def _ask(question: str) -> bytes:
    """All that comes back until there is silence, or the end."""
    reader, writer = await asyncio.open_connection("upstream", 80)
    body = b'{"messages":[{"content":"%b"}]}' % question.encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    answer = b""
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(5):
                more = await reader.read(65536)
            if not more:
                break
            answer += more
    writer.close()
    await writer.wait_closed()
    return answer


def _network(temper: Temper, asked: Asked) -> Network:
    network = Network(Random(1), Trace())
    network.upstreams["upstream", 80] = ScriptedUpstream(Random(2), network.trace, asked, temper)
    return network


def test_an_upstream_in_good_temper_answers_right() -> None:
    asked = Asked()
    network = _network(Temper(), asked)
    for number in range(20):
        answer = SimulatedLoop(network).run(_ask(f"q{number}"))
        assert answer.startswith(b"HTTP/1.1 200")
    assert asked.heard.total() == 20 and not asked.bad


@pytest.mark.parametrize(
    ("way", "start"),
    [
        ("429 later", b"HTTP/1.1 429"),
        ("503", b"HTTP/1.1 503"),
        ("close", b""),
        ("close in the head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("garbage", b"\x16\x03\x01"),
        ("hang", b""),
    ],
)
def test_an_upstream_fails_as_it_was_told_and_then_answers(way: str, start: bytes) -> None:
    asked = Asked()
    network = _network(Temper(bad_share=1.0, most_bad=1, ways=(way,)), asked)
    answer = SimulatedLoop(network).run(_ask("q"))
    assert answer.startswith(start) and (start or not answer) and right_text("q").encode() not in answer
    assert right_text("q").encode() in SimulatedLoop(network).run(_ask("q"))


def test_an_upstream_that_is_closed_refuses_until_it_opens() -> None:
    async def main() -> float:
        while True:
            try:
                _, writer = await asyncio.open_connection("upstream", 80)
            except ConnectionRefusedError:
                await asyncio.sleep(0.5)
            else:
                writer.close()
                return asyncio.get_running_loop().time()

    assert 3 < SimulatedLoop(_network(Temper(closed=((0, 3),)), Asked())).run(main()) < 4


def test_a_seed_replays_exactly_in_this_process() -> None:
    for seed in range(30):
        assert simulate(seed).checksum == simulate(seed).checksum


def test_a_seed_replays_exactly_in_another_process() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seed", "7"]
    told = [
        subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert told[0].stdout == told[1].stdout
    assert "trace" in told[0].stdout
