"""An engine shared by batches and people."""

import asyncio
import json

import pytest

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.share import AT_A_TURN, LONGEST_WAITING, STOPPED, Share, Sharing, room_of
from tests.support.telling import Halting
from tests.support.tenants import OURS, START, THEIRS, FakeClock, a_batch
from tests.support.virtual_time import in_virtual_time

CHAT = "/v1/chat/completions"


class Engine:
    """Keeps every request until it is let go; remembers the order."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.inside: dict[str, asyncio.Event] = {}

    async def __call__(self, request: Request) -> Reply | None:
        self.came.append(request.custom_id)
        self.inside[request.custom_id] = asyncio.Event()
        try:
            await self.inside[request.custom_id].wait()
        finally:
            del self.inside[request.custom_id]
        return None

    async def let_go(self, id: str) -> None:
        self.inside[id].set()
        await turns()


async def turns() -> None:
    """Let everything happen that can happen now."""
    for _ in range(10):
        await asyncio.sleep(0)


def a_sharing(engine: Engine | None, slots: int | None, model: str | None = None) -> Sharing:
    abilities = Abilities(endpoints=frozenset({CHAT}), models=None, slots=slots)
    return Sharing(echo.open(echo.Config(script=engine)), abilities, FakeClock(), model=model)


def a_request(id: str, model: str = "m") -> Request:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": id}]}).encode()
    return Request(0, id, CHAT, model, body)


def of(project: ProjectId, **changes: object) -> Batch:
    return a_batch(project=project, **changes)


def ask(group: asyncio.TaskGroup, share: Share, *ids: str) -> list[asyncio.Task[Reply]]:
    return [group.create_task(share.infer(a_request(id))) for id in ids]


def test_an_engine_gets_its_slots_full_and_a_few_more() -> None:
    assert [room_of(slots) for slots in (1, 4, 64, None)] == [2, 5, 80, None]


async def test_a_batch_gets_no_more_than_there_is_room_for() -> None:
    engine = Engine()
    share = a_sharing(engine, slots=2).share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        ask(group, share, "a", "b", "c", "d", "e")
        await turns()
        assert engine.came == ["a", "b", "c"]
        await engine.let_go("b")
        assert engine.came == ["a", "b", "c", "d"]
        for id in ("a", "c", "d", "e"):
            await engine.let_go(id)


async def test_the_project_with_least_in_the_engine_is_let_in_first() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=2)
    ours, theirs = sharing.share(of(OURS), 600), sharing.share(of(THEIRS), 600)
    async with asyncio.TaskGroup() as group:
        ask(group, ours, *(f"our{n}" for n in range(6)))
        await turns()
        ask(group, theirs, "their0", "their1", "their2")
        await turns()
        assert engine.came == ["our0", "our1", "our2"]
        await engine.let_go("our0")
        assert engine.came[3:] == ["their0"]
        await engine.let_go("our1")
        assert engine.came[4:] == ["our3"], "both have one in the engine: ours is older"
        await engine.let_go("their0")
        assert engine.came[5:] == ["their1"]
        while engine.inside:
            await engine.let_go(next(iter(engine.inside)))


async def test_of_one_project_the_batch_with_the_nearer_deadline_is_let_in_first() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=1)
    later = sharing.share(of(OURS), 600)
    sooner = sharing.share(of(OURS, created_at=START + 9, deadline_at=START + 100), 600)
    never = sharing.share(of(OURS, created_at=START - 9, deadline_at=None), 600)
    async with asyncio.TaskGroup() as group:
        ask(group, later, "later0", "later1", "later2")
        await turns()
        ask(group, never, "never")
        ask(group, sooner, "sooner")
        await turns()
        for id in ("later0", "later1", "sooner", "later2", "never"):
            await engine.let_go(id)
    assert engine.came == ["later0", "later1", "sooner", "later2", "never"]


async def test_people_need_no_turn_and_take_the_room_of_batches() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=1)
    front, share = sharing.front(), sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        ask(group, share, "a", "b", "c")
        await turns()
        people = [group.create_task(front.infer(a_request(f"person{n}"))) for n in range(3)]
        await turns()
        assert engine.came == ["a", "b", "person0", "person1", "person2"]
        await engine.let_go("a")
        await engine.let_go("b")
        assert "c" not in engine.came
        await engine.let_go("person0")
        assert "c" not in engine.came
        await engine.let_go("person1")
        assert "c" in engine.came
        await engine.let_go("person2")
        await engine.let_go("c")
    assert all(isinstance(person.result(), Answer) for person in people)


async def test_a_stream_takes_the_room_of_one_request_until_it_ends() -> None:
    engine, telling = Engine(), Halting()
    abilities = Abilities(endpoints=frozenset({CHAT}), models=None, slots=1)
    sharing = Sharing(echo.open(echo.Config(script=engine, telling=telling)), abilities, FakeClock())
    front, share = sharing.front(), sharing.share(of(OURS), 600)

    async def say(piece: bytes) -> None:
        return None

    async with asyncio.TaskGroup() as group:
        streaming = group.create_task(front.stream(a_request("person"), say))
        await telling.begun.wait()
        ask(group, share, "a", "b")
        await turns()
        assert engine.came == ["a"]
        telling.go_on.set()
        await streaming
        await turns()
        assert engine.came == ["a", "b"]
        for id in ("a", "b"):
            await engine.let_go(id)


async def test_a_share_that_is_shut_sends_nothing_any_more_and_lets_the_engine_finish() -> None:
    engine = Engine()
    share = a_sharing(engine, slots=1).share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        asked = ask(group, share, "a", "b", "c")
        await turns()
        await share.close()
        assert await asked[2] is STOPPED
        await engine.let_go("a")
        await engine.let_go("b")
        assert await share.infer(a_request("d")) is STOPPED
    assert [isinstance(each.result(), Answer) for each in asked] == [True, True, False]
    assert engine.came == ["a", "b"]


@pytest.mark.parametrize("when", ["waiting", "admitted", "inside"])
async def test_giving_a_request_up_gives_its_room_to_the_next(when: str) -> None:
    engine = Engine()
    share = a_sharing(engine, slots=1).share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        asked = ask(group, share, "a", "b", "c", "d")
        await turns()
        if when == "waiting":
            asked[2].cancel()
            await turns()
            await engine.let_go("a")
        elif when == "admitted":
            engine.inside["a"].set()
            await asyncio.wait({asked[0]})
            asked[2].cancel()
            await turns()
        else:
            asked[0].cancel()
            await turns()
            await engine.let_go("c")
        assert "d" in engine.came and len(engine.inside) == 2
        while engine.inside:
            await engine.let_go(next(iter(engine.inside)))


def test_only_time_in_the_engine_counts_against_a_request() -> None:
    async def walk() -> None:
        engine = Engine()
        share = a_sharing(engine, slots=1).share(of(OURS), 10)
        async with asyncio.TaskGroup() as group:
            asked = ask(group, share, "a", "b", "c")
            for _ in range(2):
                await asyncio.sleep(6)
                for event in tuple(engine.inside.values())[:1]:
                    event.set()
        late = [reply for reply in (each.result() for each in asked) if isinstance(reply, Failure)]
        assert [(reply.code, reply.fault) for reply in late] == [("request_timeout", Fault.LOST)]

    in_virtual_time(walk())


async def test_an_engine_is_asked_for_its_model_by_the_name_that_it_knows() -> None:
    heard: list[Request] = []

    class Listening(Engine):
        async def __call__(self, request: Request) -> Reply | None:
            heard.append(request)
            return None

    share = a_sharing(Listening(), slots=None, model="theirs").share(of(OURS), 600)
    await share.infer(a_request("a", model="ours"))
    (request,) = heard
    assert request.model == "theirs" and json.loads(request.body)["model"] == "theirs"
    assert json.loads(request.body)["messages"] == [{"role": "user", "content": "a"}]


async def test_between_two_turns_of_the_loop_an_engine_that_answers_at_once_gets_only_a_few_requests() -> None:
    answered, most, turn = 0, 0, 0

    async def at_once(request: Request) -> Reply | None:
        nonlocal answered
        answered += 1
        return None

    abilities = Abilities(endpoints=frozenset({CHAT}), models=None)
    sharing = Sharing(echo.open(echo.Config(script=at_once)), abilities, FakeClock())
    shares = [sharing.share(of(project), 600) for project in (OURS, THEIRS)]

    async def slot(share: Share) -> None:
        for number in range(50):
            await share.infer(a_request(str(number)))

    async with asyncio.TaskGroup() as group:
        slots = [group.create_task(slot(share)) for share in shares for _ in range(4)]
        while not all(each.done() for each in slots):
            before = answered
            await asyncio.sleep(0)
            most, turn = max(most, answered - before), turn + 1
    assert answered == 400
    assert most <= 2 * AT_A_TURN, "those whose turn comes, and those that find room at once"


async def test_every_batch_of_a_project_gets_on_however_many_go_before_it() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=1)
    batches = [sharing.share(of(OURS, created_at=START + number), 600) for number in range(6)]
    async with asyncio.TaskGroup() as group:
        for number, share in enumerate(batches):
            ask(group, share, *(f"{number}-{n}" for n in range(20)))
        await turns()
        for _ in range(LONGEST_WAITING * 6):
            await engine.let_go(next(iter(engine.inside)))
        reached = {id.partition("-")[0] for id in engine.came}
        for share in batches:
            await share.close()
        while engine.inside:
            await engine.let_go(next(iter(engine.inside)))
    assert reached == set("012345")
