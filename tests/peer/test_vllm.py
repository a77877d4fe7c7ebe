"""The real vLLM behind the managed engine: it serves, it is killed, it comes back, it leaves nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec
import psutil
import pytest

from batchyard.domain.errors import Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Abilities
from batchyard.engines import managed
from batchyard.engines.managed import RECIPES, ManagedEngine
from tests.support.demo_lines import Question, questions
from tests.support.processes import all_end_within

ConfigOf = Callable[..., managed.Config]
IN_FLIGHT = 64


@asynccontextmanager
async def started(config: managed.Config) -> AsyncGenerator[tuple[ManagedEngine, Abilities]]:
    engine = ManagedEngine(config, RECIPES["vllm"])
    try:
        yield engine, await engine.start()
    finally:
        await engine.close()


def a_request(question: Question, *, model: str = "demo") -> Request:
    messages = [{"role": "user", "content": question.text}]
    body = {"model": model, "messages": messages, "max_tokens": 32, "temperature": 0}
    return Request(0, question.custom_id, "/v1/chat/completions", model, msgspec.json.encode(body))


def text(reply: Reply) -> str:
    assert isinstance(reply, Answer), reply
    return msgspec.json.decode(reply.body)["choices"][0]["message"]["content"].strip()


async def answer_all(engine: ManagedEngine, asked: list[Question], each: Callable[[Reply], None]) -> list[str]:
    """Ask everything, a bounded number at once, and again where the engine was lost; `each` sees every reply."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def ask(question: Question) -> str:
        async with places:
            while True:
                reply = await engine.infer(a_request(question))
                each(reply)
                if not isinstance(reply, Failure):
                    return text(reply)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(question)) for question in asked]
    return [task.result() for task in tasks]


def vllm_processes() -> list[psutil.Process]:
    """Everything below us that belongs to vLLM, the server first."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "guard.py" not in " ".join(process.cmdline())]


async def test_it_serves_what_it_says_and_answers_right(config_of: ConfigOf) -> None:
    asked = questions(256)
    async with started(config_of("--max-num-seqs", "64")) as (engine, abilities):
        assert {"/v1/chat/completions", "/v1/completions", "/v1/responses"} <= abilities.endpoints
        assert "/v1/embeddings" not in abilities.endpoints
        assert abilities.models == {"demo", "other"}
        assert abilities.slots == 64
        assert abilities.context_tokens == 1024
        assert abilities.sees_images is False

        answers = await answer_all(engine, asked, each=lambda _: None)
        assert answers == [question.answer for question in asked]

        other = await engine.infer(a_request(asked[0], model="other"))
        assert text(other) == asked[0].answer
        unknown = await engine.infer(a_request(asked[0], model="unknown"))
        assert isinstance(unknown, Answer)
        assert unknown.status == 404
        pids = [process.pid for process in vllm_processes()]
    assert len(pids) >= 3
    assert all_end_within(pids, 0)


@pytest.mark.parametrize("victim", ["server", "engine core"])
async def test_killed_in_the_middle_it_is_started_again_and_everything_is_answered(
    config_of: ConfigOf, victim: str
) -> None:
    asked = questions(400, seed=1)
    replies: list[Reply] = []

    def kill_in_the_middle(reply: Reply) -> None:
        replies.append(reply)
        if len(replies) == len(asked) // 2:
            os.kill(_victim(victim), signal.SIGKILL)

    async with started(config_of()) as (engine, _):
        first = {process.pid for process in vllm_processes()}
        answers = await answer_all(engine, asked, kill_in_the_middle)
        assert answers == [question.answer for question in asked]
        assert engine.restarts == 1
        assert all_end_within(first, 0)

    failures = [reply for reply in replies if isinstance(reply, Failure)]
    assert failures
    assert {failure.fault for failure in failures} <= {Fault.CRASHED, Fault.DOWN}


def _victim(name: str) -> int:
    server, *rest = vllm_processes()
    if name == "server":
        return server.pid
    return next(process.pid for process in rest if "EngineCor" in process.name())


async def test_a_model_that_is_not_there_is_unavailable_with_a_reason(config_of: ConfigOf) -> None:
    with pytest.raises(Unavailable) as caught:
        await managed.open(config_of(model="no-such-org/no-such-model")).start()
    assert "no-such-org/no-such-model" in caught.value.message
    assert "Check --model" in caught.value.remedy


async def test_a_flag_that_it_does_not_know_is_unavailable_with_its_name(config_of: ConfigOf) -> None:
    with pytest.raises(Unavailable, match="--no-such-flag") as caught:
        await managed.open(config_of("--no-such-flag", "1")).start()
    assert caught.value.remedy.startswith("Mend or leave out that flag.")
