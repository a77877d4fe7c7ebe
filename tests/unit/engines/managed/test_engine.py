"""The managed engine, over a program that behaves as badly as real ones do."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from batchyard.domain.errors import Invalid, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Abilities, Engine
from batchyard.engines import managed
from batchyard.transport.life import Patience
from tests.support.processes import all_end_within, until

FAKE = Path(__file__).parents[3] / "support" / "fake_program.py"
QUICK = Patience(start_seconds=20, stop_seconds=5, probe_interval_seconds=0.01, backoff_seconds=0.05)


def a_config(
    tmp_path: Path,
    slots: int | None = None,
    model: str = "org/tiny",
    patience: Patience = QUICK,
    doubt: float = 1.0,
    **fake: str,
) -> managed.Config:
    executable = tmp_path / "vllm"
    executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    executable.chmod(0o755)
    return managed.Config(
        program="vllm",
        model=model,
        names=("tiny",),
        slots=slots,
        executable=str(executable),
        log_folder=str(tmp_path / "logs"),
        gpu=False,
        environment={f"FAKE_{name.upper()}": value for name, value in fake.items()},
        ready_wait_seconds=20,
        doubt_seconds=doubt,
        patience=patience,
    )


@asynccontextmanager
async def started(config: managed.Config) -> AsyncGenerator[tuple[Engine, Abilities]]:
    engine = managed.open(config)
    try:
        yield engine, await engine.start()
    finally:
        await engine.close()


def a_request(says: str = "hello") -> Request:
    body = f'{{"model":"tiny","messages":[{{"role":"user","content":"{says}"}}]}}'
    return Request(0, "r", "/v1/chat/completions", "tiny", body.encode())


def is_answer(reply: Reply, status: int = 200) -> bool:
    return isinstance(reply, Answer) and reply.status == status


def lives(file: Path) -> list[list[str]]:
    """Process id, port, key and arguments of each start."""
    return [line.split() for line in file.read_text().splitlines()]


async def test_abilities_are_what_the_program_says_it_serves(tmp_path: Path) -> None:
    paths = "/v1/chat/completions,/v1/embeddings,/health,/tokenize"
    async with started(a_config(tmp_path, slots=12, paths=paths)) as (_, abilities):
        assert abilities.endpoints == {"/v1/chat/completions", "/v1/embeddings"}
        assert abilities.models == {"tiny"}
        assert abilities.slots == 12
        assert abilities.context_tokens == 1024
        assert abilities.description == "vLLM, tiny, 12 slots"


async def test_a_request_is_answered_with_the_key_of_this_life(tmp_path: Path) -> None:
    async with started(a_config(tmp_path, key="VLLM_API_KEY")) as (engine, _):
        assert is_answer(await engine.infer(a_request()))


async def test_requests_on_board_when_the_program_dies_get_crashed_and_later_ones_are_answered(tmp_path: Path) -> None:
    file = tmp_path / "stalled"
    config = a_config(tmp_path, stalled=str(file))
    async with started(config) as (engine, _), asyncio.TaskGroup() as group:
        stalled = [group.create_task(engine.infer(a_request("stall"))) for _ in range(20)]
        await until(lambda: file.exists() and len(file.read_text().splitlines()) == 20)
        killer = await engine.infer(a_request("die"))
        crashed = [killer, *[await each for each in stalled]]
        assert {reply.fault for reply in crashed if isinstance(reply, Failure)} == {Fault.CRASHED}
        assert all(isinstance(reply, Failure) for reply in crashed)
        assert "SIGKILL" in (killer.message if isinstance(killer, Failure) else "")
        assert is_answer(await engine.infer(a_request()))


async def test_a_500_of_a_dying_program_is_a_crash(tmp_path: Path) -> None:
    async with started(a_config(tmp_path, doubt=10.0)) as (engine, _):
        reply = await engine.infer(a_request("fall ill"))
        assert isinstance(reply, Failure)
        assert reply.fault is Fault.CRASHED


async def test_a_500_of_a_healthy_program_is_its_answer(tmp_path: Path) -> None:
    async with started(a_config(tmp_path, doubt=0.01)) as (engine, _):
        assert is_answer(await engine.infer(a_request("fail")), 500)


async def test_a_restarted_program_gets_a_new_port_and_a_new_key_and_restarts_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "lives"
    config = a_config(tmp_path, lives=str(file), key="VLLM_API_KEY")
    engine = managed.ManagedEngine(config, managed.RECIPES["vllm"])
    await engine.start()
    try:
        os.kill(int(lives(file)[0][0]), signal.SIGKILL)
        reply = await engine.infer(a_request())
        while isinstance(reply, Failure):
            reply = await engine.infer(a_request())
        assert is_answer(reply)
        assert engine.restarts == 1
        first, second = lives(file)
        assert first[1] != second[1]
        assert first[2] != second[2]
    finally:
        await engine.close()


async def test_while_it_cannot_be_started_again_requests_are_told_that_it_is_down_and_why(tmp_path: Path) -> None:
    refusal = tmp_path / "refusal"
    patience = Patience(start_seconds=20, stop_seconds=5, probe_interval_seconds=0.01, backoff_seconds=60)
    config = a_config(tmp_path, patience=patience, refuse="CUDA error: out of memory", refuse_after=str(refusal))
    async with started(config) as (engine, _):
        refusal.touch()
        await engine.infer(a_request("die"))
        reply = await engine.infer(a_request())
        assert isinstance(reply, Failure)
        assert reply.fault is Fault.DOWN
        assert "out of memory" in reply.message


async def test_a_program_that_cannot_start_is_unavailable_with_its_words_and_a_remedy(tmp_path: Path) -> None:
    config = a_config(tmp_path, refuse="vllm: error: unrecognized arguments: --nonsense")
    with pytest.raises(Unavailable, match="unrecognized arguments: --nonsense") as caught:
        await managed.open(config).start()
    assert caught.value.remedy.startswith("Mend or leave out that flag.")
    assert str(tmp_path / "logs" / "vllm.log") in caught.value.remedy


async def test_a_program_that_refuses_our_key_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="401"):
        await managed.open(a_config(tmp_path, key="HOME")).start()


async def test_a_program_that_is_not_installed_is_unavailable_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BATCHYARD_SGLANG", str(tmp_path / "nowhere"))
    config = managed.Config(program="sglang", model="org/tiny", log_folder=str(tmp_path))
    with pytest.raises(Unavailable, match="not installed") as caught:
        await managed.open(config).start()
    assert "BATCHYARD_SGLANG" in caught.value.remedy


def test_an_unknown_program_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="abacus"):
        managed.open(managed.Config(program="abacus", model="m", log_folder=str(tmp_path)))


async def test_close_leaves_no_process_and_may_be_called_twice(tmp_path: Path) -> None:
    children, file = tmp_path / "children", tmp_path / "lives"
    async with started(a_config(tmp_path, fork=str(children), lives=str(file))) as (engine, _):
        pids = [int(lives(file)[0][0]), *map(int, children.read_text().split())]
        await engine.close()
        assert all_end_within(pids, 0)


@pytest.mark.parametrize("vision", [True, False])
async def test_a_model_folder_says_whether_it_sees_images(tmp_path: Path, vision: bool) -> None:
    (tmp_path / "config.json").write_text('{"vision_config": {"depth": 2}}' if vision else "{}")
    async with started(a_config(tmp_path, model=str(tmp_path))) as (_, abilities):
        assert abilities.sees_images is vision
