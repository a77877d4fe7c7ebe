import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchyard.domain.errors import NotFound, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.workers.engine import START_ATTEMPTS, WorkerEngine
from tests.support.processes import ENVIRONMENT, ended_within
from tests.support.scripted_worker import ENDPOINT

Opened = Callable[..., WorkerEngine]


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    return tmp_path / "starts"


@pytest.fixture
async def opened(starts: Path) -> AsyncIterator[Opened]:
    engines: list[WorkerEngine] = []

    def make(pause: Any = no_pause, **config: object) -> WorkerEngine:
        engine = WorkerEngine(
            "tests.support.scripted_worker",
            msgspec.json.encode({"starts": str(starts), **config}),
            environment=ENVIRONMENT,
            remedy="Start it by hand.",
            pause=pause,
        )
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        await engine.close()


def asking(do: str = "", model: str = "m", endpoint: str = ENDPOINT) -> Request:
    return Request(0, "r", endpoint, model, msgspec.json.encode({"do": do}))


def pid_in(reply: Reply) -> int:
    assert isinstance(reply, Answer), reply
    return msgspec.json.decode(reply.body)["pid"]


def count(starts: Path) -> int:
    return len(starts.read_text().splitlines())


async def in_flight(group: asyncio.TaskGroup, engine: WorkerEngine, do: str) -> asyncio.Task[Reply]:
    """A request that has reached the worker: one that was sent after it has been answered."""
    task = group.create_task(engine.infer(asking(do)))
    await engine.infer(asking())
    return task


async def test_a_request_is_answered_by_another_process(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    assert pid_in(await engine.infer(asking())) == engine.pid != os.getpid()


async def test_requests_on_board_of_a_dying_worker_fail_as_crashed(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    async with asyncio.TaskGroup() as group:
        waiting = await in_flight(group, engine, "hang")
        dying = group.create_task(engine.infer(asking("die")))
    for reply in (waiting.result(), dying.result()):
        assert isinstance(reply, Failure)
        assert reply.fault == Fault.CRASHED
        assert "SIGSEGV" in reply.message


async def test_the_message_of_a_crash_has_the_last_words(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    reply = await engine.infer(asking("exit"))
    assert isinstance(reply, Failure)
    assert "ended with code 3" in reply.message
    assert "so long" in reply.message


async def test_a_dead_worker_is_replaced_and_counted(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    before = pid_in(await engine.infer(asking()))
    await engine.infer(asking("die"))
    assert engine.restarts == 0
    assert pid_in(await engine.infer(asking())) != before
    assert engine.restarts == 1


async def test_all_who_come_during_a_restart_wait_for_the_same_worker(opened: Opened, starts: Path) -> None:
    engine = opened()
    await engine.start()
    await engine.infer(asking("die"))
    replies = await asyncio.gather(*(engine.infer(asking()) for _ in range(8)))
    assert len({pid_in(reply) for reply in replies}) == 1
    assert count(starts) == 2


async def test_a_starter_who_gives_up_does_not_strand_the_others(opened: Opened) -> None:
    engine = opened()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(engine.infer(asking()))
        follower = group.create_task(engine.infer(asking()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leader.cancel()
    assert leader.cancelled()
    assert pid_in(follower.result()) == engine.pid


async def test_a_cancelled_request_is_given_up_by_the_worker(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    async with asyncio.TaskGroup() as group:
        task = await in_flight(group, engine, "hang")
        task.cancel()
    reply = await engine.infer(asking("await given up"))
    assert isinstance(reply, Answer)


async def test_pieces_come_in_order_and_before_the_reply(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    heard: list[bytes] = []

    async def say(piece: bytes) -> None:
        await engine.infer(asking())  # slowly
        heard.append(piece)

    reply = await engine.stream(asking("say"), say)
    assert isinstance(reply, Answer) and reply.ok
    assert heard == [b"one", b"two", b"three"]


async def test_a_worker_that_dies_in_the_middle_of_a_stream_fails_it_as_crashed(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    heard: list[bytes] = []

    async def say(piece: bytes) -> None:
        heard.append(piece)

    reply = await engine.stream(asking("say and die"), say)
    assert isinstance(reply, Failure) and reply.fault == Fault.CRASHED
    assert heard == [b"one"]


async def test_who_cannot_hear_any_more_gives_the_request_up(opened: Opened) -> None:
    engine = opened()
    await engine.start()

    async def say(piece: bytes) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await engine.stream(asking("say and hang"), say)
    assert isinstance(await engine.infer(asking("await given up")), Answer)


async def test_a_start_that_fails_is_tried_again(opened: Opened, starts: Path) -> None:
    engine = opened(fails=START_ATTEMPTS - 1)
    await engine.start()
    assert count(starts) == START_ATTEMPTS


async def test_pauses_between_failing_starts_grow(opened: Opened) -> None:
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    await opened(pause=note, fails=START_ATTEMPTS - 1).start()
    assert len(pauses) == START_ATTEMPTS - 1
    assert pauses == sorted(set(pauses))


async def test_a_worker_that_cannot_start_is_unavailable_with_its_words_and_a_remedy(
    opened: Opened, starts: Path
) -> None:
    engine = opened(fails=100)
    with pytest.raises(Unavailable, match="no luck today") as caught:
        await engine.start()
    assert caught.value.remedy == "Start it by hand."
    assert count(starts) == START_ATTEMPTS


async def test_a_worker_that_cannot_be_replaced_is_down_until_it_can(opened: Opened) -> None:
    engine = opened(fails=2 * START_ATTEMPTS - 1)
    first = await engine.infer(asking())
    assert isinstance(first, Failure)
    assert first.fault == Fault.DOWN
    second = await engine.infer(asking())
    assert pid_in(second) == engine.pid


async def test_a_worker_that_refuses_is_not_asked_again(opened: Opened, starts: Path) -> None:
    engine = opened(refuses="There is nothing to load.")
    with pytest.raises(Unavailable, match="There is nothing to load") as caught:
        await engine.start()
    assert "looked for it everywhere" in caught.value.message
    assert caught.value.remedy == "Look again."
    assert count(starts) == 1


async def test_a_check_that_fails_starts_nothing(starts: Path) -> None:
    def check() -> None:
        raise NotFound("There is no such file.")

    engine = WorkerEngine("tests.support.scripted_worker", b"", check=check)
    with pytest.raises(NotFound):
        await engine.start()
    assert engine.pid is None


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (asking(model="other"), 404, "model_not_found"),
        (asking(endpoint="/v1/embeddings"), 400, "unsupported_endpoint"),
    ],
)
async def test_what_the_model_does_not_do_is_answered_so(
    opened: Opened, request_: Request, status: int, code: str
) -> None:
    reply = await opened().infer(request_)
    assert isinstance(reply, Answer)
    assert reply.status == status
    assert msgspec.json.decode(reply.body)["error"]["code"] == code


async def test_closing_ends_the_process_and_may_be_repeated(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    pid = engine.pid
    assert pid is not None
    await engine.close()
    assert ended_within(pid, 0)
    await engine.close()
    reply = await engine.infer(asking())
    assert isinstance(reply, Failure)
    assert reply.fault == Fault.DOWN


async def test_closing_during_a_start_ends_the_start(opened: Opened) -> None:
    engine = opened()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(engine.infer(asking()))
        await asyncio.sleep(0)
        await engine.close()
    reply = task.result()
    assert isinstance(reply, Failure)
    assert reply.fault == Fault.DOWN
    assert engine.pid is None


async def test_a_worker_killed_while_idle_costs_nobody_anything(opened: Opened) -> None:
    engine = opened()
    await engine.start()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    assert ended_within(engine.pid, 10)
    reply = await engine.infer(asking())
    # The loop may not have heard of the death yet: then this request was on board.
    assert isinstance(reply, Answer) or reply.fault == Fault.CRASHED
    assert pid_in(await engine.infer(asking())) == engine.pid
