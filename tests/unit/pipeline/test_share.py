"""An engine shared by batches and people."""

import asyncio
import json
from typing import Any

import pytest

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.endpoints.embeddings import GROUPED
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.share import AT_A_TURN, LONGEST_WAITING, STOPPED, Caps, Share, Shares, Sharing, room_of
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


def a_sharing(engine: Engine | None, slots: int | None, **settings: Any) -> Sharing:
    abilities = Abilities(endpoints=frozenset({CHAT}), models=None, slots=slots)
    return Sharing(echo.open(echo.Config(script=engine)), abilities, FakeClock(), **settings)


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


async def test_an_answer_has_the_name_that_callers_know() -> None:
    sharing = a_sharing(None, slots=None, model="theirs", name="ours")
    for reply in (
        await sharing.share(of(OURS), 600).infer(a_request("a", model="alias")),
        await sharing.front().infer(a_request("a", model="theirs")),
    ):
        assert isinstance(reply, Answer)
        body = json.loads(reply.body)
        assert body["model"] == "ours" and body["choices"][0]["message"]["content"] == "a"


async def test_the_pieces_of_an_answer_have_it_too() -> None:
    said: list[dict[str, Any]] = []

    async def say(piece: bytes) -> None:
        said.append(json.loads(piece))

    renaming = a_sharing(None, slots=None, model="theirs", name="ours").renaming(say)
    await renaming(b'{"model":"theirs","choices":[{"delta":{"content":"model"}}]}')
    await renaming(b'{"type":"response.created","response":{"id":"r","model":"theirs"}}')
    await renaming(b'{"type":"response.output_text.delta","delta":"theirs"}')
    assert said == [
        {"model": "ours", "choices": [{"delta": {"content": "model"}}]},
        {"type": "response.created", "response": {"id": "r", "model": "ours"}},
        {"type": "response.output_text.delta", "delta": "theirs"},
    ]
    assert a_sharing(None, slots=None, model="same", name="same").renaming(say) is say


@pytest.mark.parametrize("body", [b"not JSON", b"[1]", b'{"a": 1}', b"[" * 10_000])
async def test_an_answer_without_a_model_stays_as_it_is(body: bytes) -> None:
    answer = Answer(200, body)
    assert a_sharing(None, slots=None, model="theirs", name="ours").renamed(answer) is answer


async def test_a_capped_engine_gets_no_more_people_either_and_these_go_first() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=None, caps=Caps(all=2))
    front, share = sharing.front(), sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        ask(group, share, "a", "b", "c")
        await turns()
        people = [group.create_task(front.infer(a_request(f"person{n}"))) for n in range(3)]
        await turns()
        assert engine.came == ["a", "b"]
        for id in ("a", "b", "person0", "person1"):
            await engine.let_go(id)
        assert engine.came == ["a", "b", "person0", "person1", "person2", "c"]
        for id in ("person2", "c"):
            await engine.let_go(id)
    assert all(isinstance(person.result(), Answer) for person in people)


async def test_batches_leave_room_for_people() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=None, caps=Caps(all=3, batches=2))
    front, share = sharing.front(), sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        ask(group, share, "a", "b", "c")
        await turns()
        assert engine.came == ["a", "b"]
        person = group.create_task(front.infer(a_request("person")))
        await turns()
        assert engine.came == ["a", "b", "person"]
        for id in ("person", "a"):
            await engine.let_go(id)
        assert engine.came[3:] == ["c"]
        for id in ("b", "c"):
            await engine.let_go(id)
    assert isinstance(person.result(), Answer)


@pytest.mark.parametrize("when", ["waiting", "admitted"])
async def test_a_person_who_leaves_gives_the_turn_to_the_next(when: str) -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=None, caps=Caps(all=1))
    front, share = sharing.front(), sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        (first,) = ask(group, share, "a")
        await turns()
        leaving, staying = (group.create_task(front.infer(a_request(id))) for id in ("leaving", "staying"))
        await turns()
        if when == "waiting":
            leaving.cancel()
            await turns()
            await engine.let_go("a")
        else:
            engine.inside["a"].set()
            await asyncio.wait({first})
            leaving.cancel()
            await turns()
        assert list(engine.inside) == ["staying"]
        await engine.let_go("staying")
        assert isinstance(await staying, Answer)
        (last,) = ask(group, share, "b")
        await turns()
        await engine.let_go("b")
        assert isinstance(await last, Answer)


def test_a_model_has_its_own_time_for_an_answer() -> None:
    async def walk() -> None:
        engine = Engine()
        share = a_sharing(engine, slots=1, caps=Caps(request_timeout_seconds=5)).share(of(OURS), 600)
        for text in ("a", "b"):  # whoever asked goes on, with another request
            reply = await share.infer(a_request(text))
            assert isinstance(reply, Failure) and "5 seconds" in reply.message
        with pytest.raises(TimeoutError):  # an end from elsewhere is none of ours
            async with asyncio.timeout(1):
                await share.infer(a_request("c"))

    in_virtual_time(walk())


async def test_all_shares_of_a_batch_are_shut_together() -> None:
    shares, all_of_them = [a_sharing(None, slots=1).share(of(OURS), 600) for _ in range(2)], Shares()
    for share in shares:
        all_of_them.add(share)
    await all_of_them.close()
    assert all(share.shut for share in shares)


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


def a_group(id: str, lines: int) -> Request:
    return Request(0, id, CHAT, "m", b"{}", lines)


async def test_an_engine_that_says_its_slots_has_them_counted_in_lines() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=8)  # and two to follow
    share = sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        for id in "abc":
            group.create_task(share.infer(a_group(id, 5)))
        await turns()
        assert engine.came == ["a", "b"]
        assert (sharing.inflight, sharing.waiting) == (10, 1)
        await engine.let_go("a")
        assert engine.came == ["a", "b", "c"]
        await engine.let_go("b")
        await engine.let_go("c")
    assert sharing.inflight == 0


async def test_an_upstream_has_its_calls_counted() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=None, caps=Caps(all=2))
    share = sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        for id in "abc":
            group.create_task(share.infer(a_group(id, 64)))
        await turns()
        assert (engine.came, sharing.inflight) == (["a", "b"], 2)
        for id in "abc":
            await engine.let_go(id)


@pytest.mark.parametrize(
    ("slots", "caps", "most"),
    [
        (None, Caps(group=8), 8),
        (None, Caps(all=4, group=8), 8),
        (None, Caps(all=4, batches=1, group=6), 6),
        (256, Caps(group=8), 8),
        (8, Caps(), 5),
        (8, Caps(batches=4), 2),
        (1, Caps(), 1),
        (256, Caps(group=1), 1),
    ],
)
def test_a_group_takes_half_of_the_room_at_most_where_that_is_known(slots: int | None, caps: Caps, most: int) -> None:
    groups = a_sharing(None, slots, caps=caps, grouping=GROUPED).groups
    assert groups is not None and groups.most == most


async def test_a_person_goes_at_once_while_groups_wait() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=4)
    share = sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        for id in "abcd":
            group.create_task(share.infer(a_group(id, 2)))
        group.create_task(sharing.front().infer(a_request("person")))
        await turns()
        assert engine.came[-1] == "person" and len(engine.came) < 5
        for id in ("a", "b", "c", "person", "d"):
            await engine.let_go(id)


async def test_groups_that_were_given_up_leave_their_room() -> None:
    engine = Engine()
    sharing = a_sharing(engine, slots=4)
    share = sharing.share(of(OURS), 600)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(share.infer(a_group(id, 3))) for id in "abcd"]
        await turns()
        for task in tasks:
            task.cancel()
    assert (sharing.inflight, sharing.waiting) == (0, 0)
