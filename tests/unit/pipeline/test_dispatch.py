"""The dispatch station in virtual time, against a scripted engine: hours of backoff cost nothing and are exact."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from random import Random

import msgspec
import pytest

from batchyard.config import DispatchSettings
from batchyard.domain.errors import Conflict, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Outcome, Reply, Usage
from batchyard.endpoints.embeddings import GROUPED
from batchyard.engine import Abilities
from batchyard.pipeline.dispatch import dispatch
from batchyard.pipeline.group import Groups
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from tests.support.memory_journal import MemoryJournal
from tests.support.virtual_time import in_virtual_time

OK = Answer(200, b"{}", "r", Usage(2, 1, 1))
ABILITIES = Abilities(endpoints=frozenset({"/v1/completions"}), models=None)
DOWN = Failure("engine_unreachable", "refused", Fault.DOWN)
CRASH = Failure("engine_crashed", "gone", Fault.CRASHED)


def now() -> float:
    return asyncio.get_running_loop().time()


class Scripted:
    """An engine whose answers a function gives: `answer(line, try)`, a reply or a coroutine for one."""

    restarts = 0

    def __init__(self, answer: Callable[[int, int], Reply | Awaitable[Reply]]) -> None:
        self._answer = answer
        self.tries: Counter[int] = Counter()
        self.times: dict[int, list[float]] = {}
        self.board: set[int] = set()
        self.most = 0
        self.company: dict[int, list[int]] = {}

    async def start(self) -> Abilities:
        return ABILITIES

    async def infer(self, request: Request) -> Reply:
        line = request.line
        assert line not in self.board, "a line is sent once at a time"
        self.tries[line] += 1
        self.times.setdefault(line, []).append(now())
        self.board.add(line)
        self.company.setdefault(line, []).append(len(self.board) - 1)
        self.most = max(self.most, len(self.board))
        try:
            reply = self._answer(line, self.tries[line])
            return await reply if isinstance(reply, Awaitable) else reply
        finally:
            self.board.discard(line)

    async def close(self) -> None:
        return None


class Run:
    """One dispatch with everything that it needs; `lines` requests."""

    def __init__(
        self,
        answer: Callable[[int, int], Reply | Awaitable[Reply]],
        *,
        lines: int = 20,
        journal: MemoryJournal | None = None,
        abilities: Abilities = ABILITIES,
        body: bytes = b"{}",
        **settings: float,
    ) -> None:
        self.engine = Scripted(answer)
        self.journal = journal or MemoryJournal()
        self.tally = Tally()
        self.stop = Stop()
        self.abilities = abilities
        self.settings = msgspec.convert(settings, DispatchSettings)
        self.requests: Iterator[Request] = (
            Request(line, f"id-{line}", "/v1/completions", "m", body) for line in range(lines)
        )
        self.pulled = 0

    def _pulled(self) -> Iterator[Request]:
        for request in self.requests:
            self.pulled += 1
            yield request

    async def go(self) -> "Run":
        parts = (self.engine, self.abilities, self.journal, self.settings, self.tally, self.stop)
        await dispatch(self._pulled(), *parts, random=Random(0))
        assert self.tally.inflight == 0
        assert len(asyncio.all_tasks()) <= 2, "no task is left behind"
        return self

    def done(self) -> "Run":
        return in_virtual_time(self.go())

    @property
    def outcomes(self) -> list[Outcome]:
        return [result.outcome for _, result in sorted(self.journal.results.items())]

    def reply(self, line: int) -> Reply:
        return self.journal.results[line].reply


async def after(seconds: float, reply: Reply = OK) -> Reply:
    await asyncio.sleep(seconds)
    return reply


def test_every_line_has_one_result_and_the_tally_says_so() -> None:
    run = Run(lambda line, _: OK if line % 2 else Answer(400, b"{}")).done()
    assert run.outcomes == [Outcome.ERRORED, Outcome.SUCCEEDED] * 10
    assert (run.tally.succeeded, run.tally.errored, run.tally.retries) == (10, 10, 0)
    assert (run.tally.input_tokens, run.tally.output_tokens, run.tally.cached_tokens) == (20, 10, 10)
    assert run.tally.failures == {"http_400": 10}
    assert run.journal.results[3].custom_id == "id-3"
    assert run.journal.results[3].attempts == 1


def test_no_lines_need_no_engine() -> None:
    assert Run(lambda _, __: OK, lines=0).done().outcomes == []


def test_a_result_carries_its_attempts_and_the_seconds_of_the_last() -> None:
    run = Run(lambda _, t: after(3.0 if t == 3 else 1.0, OK if t == 3 else Answer(500, b"")), lines=1).done()
    assert run.journal.results[0].attempts == 3
    assert run.journal.results[0].seconds == pytest.approx(3.0)
    assert run.tally.retries == 2


@pytest.mark.parametrize(
    "reply",
    [
        Answer(500, b""),
        Failure("connection_lost", "x", Fault.LOST),
    ],
)
def test_a_passing_trouble_costs_retries_and_a_lasting_one_is_the_result(reply: Reply) -> None:
    run = Run(lambda line, t: reply if line == 3 or t <= 2 else OK, retries=4).done()
    assert run.outcomes.count(Outcome.SUCCEEDED) == 19
    assert run.reply(3) == reply
    assert run.engine.tries[3] == 5


@pytest.mark.parametrize("reply", [Answer(429, b"{}"), Failure("x", "x", Fault.OVERLOADED)])
def test_a_quota_counted_by_the_minute_costs_time_and_no_line(reply: Reply) -> None:
    async def answer(line: int, _: int) -> Reply:
        return reply if asyncio.get_running_loop().time() % 60 > 5 else OK

    run = Run(lambda line, t: answer(line, t), lines=200, retries=2).done()
    assert run.outcomes.count(Outcome.SUCCEEDED) == 200


def test_a_quota_that_is_used_up_ends_the_run_and_keeps_the_lines() -> None:
    run = Run(lambda line, _: OK if line < 5 else Answer(429, b'{"error":{"code":"insufficient_quota"}}'))
    with pytest.raises(Unavailable, match="insufficient_quota"):
        run.done()
    assert not [result for result in run.journal.results.values() if result.outcome is not Outcome.SUCCEEDED]


def test_an_engine_that_dies_of_every_line_ends_the_run() -> None:
    run = Run(lambda line, _: OK if line < 5 else Failure("engine_crashed", "gone", Fault.CRASHED), lines=5000)
    with pytest.raises(Unavailable, match="crashes on every line"):
        run.done()
    assert run.outcomes.count(Outcome.SUCCEEDED) == 5
    assert run.outcomes.count(Outcome.ERRORED) < 20


def test_a_few_lines_that_kill_the_engine_end_alone_and_the_rest_is_answered() -> None:
    run = Run(lambda line, _: Failure("x", "gone", Fault.CRASHED) if line % 100 == 7 else OK, lines=1000).done()
    assert run.outcomes.count(Outcome.ERRORED) == 10


def test_a_line_that_waits_holds_no_slot() -> None:
    """One slot, one line that must wait for a minute: the others go meanwhile."""
    busy = Failure("connection_lost", "x", Fault.LOST, retry_after_seconds=60.0)
    run = Run(lambda line, t: busy if (line, t) == (0, 1) else after(0.1), lines=100, max_inflight=1).done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 100
    assert run.engine.most == 1
    assert max(times[0] for times in run.engine.times.values()) < 11
    assert run.engine.times[0][1] >= 60


def test_retry_after_holds_all_back_because_it_is_the_server_that_is_full() -> None:
    full = Answer(429, b"{}", retry_after_seconds=30.0)
    run = Run(lambda line, t: full if (line, t) == (0, 1) else after(1.0), lines=50, max_inflight=4).done()
    launches = sorted(time for times in run.engine.times.values() for time in times)
    assert not [time for time in launches if 0 < time < 30]
    assert run.outcomes == [Outcome.SUCCEEDED] * 50


def test_retry_after_counts_also_from_the_second_of_two_that_were_refused_together() -> None:
    def answer(line: int, tries: int) -> Awaitable[Reply]:
        if tries > 1 or line > 1:
            return after(1.0)
        return after(0.1, Answer(429, b"{}", retry_after_seconds=30.0 if line == 1 else None))

    run = Run(answer, lines=50, max_inflight=4).done()
    launches = [time for times in run.engine.times.values() for time in times]
    assert not [time for time in launches if 0.1 < time < 30]


def test_an_outage_of_a_full_server_is_waited_out() -> None:
    """Nothing but 503 for two minutes: the pauses grow, so few lines pay, and none so much that it fails."""
    run = Run(lambda _, __: after(0.1, OK if now() > 120 else Answer(503, b"")), lines=300).done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 300


def test_a_server_that_is_full_now_and_then_is_never_left_alone_for_long() -> None:
    """Pauses grow only while nothing gets through."""

    async def story() -> None:
        full = Answer(429, b"{}")
        run = Run(lambda line, t: after(0.1, full if line % 20 == 0 and t == 1 else OK), lines=2000, max_inflight=16)
        await run.go()
        launches = sorted(time for times in run.engine.times.values() for time in times)
        assert max(later - earlier for earlier, later in pairwise(launches)) < 1.0

    in_virtual_time(story())


def test_an_attempt_that_takes_too_long_is_given_up_and_paid() -> None:
    run = Run(lambda line, t: after(1e6 if line == 2 and t == 1 else 0.5), request_timeout_seconds=10.0).done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 20
    assert run.tally.failures == {"request_timeout": 1}
    first, second = run.engine.times[2]
    assert 10 <= second - first < 20


def test_an_engine_that_always_hangs_makes_error_lines_not_a_hanging_run() -> None:
    run = Run(lambda _, __: after(1e9), lines=30, retries=2, request_timeout_seconds=5.0).done()
    assert run.outcomes == [Outcome.ERRORED] * 30
    assert {result.reply.code for result in run.journal.results.values() if isinstance(result.reply, Failure)} == {
        "request_timeout"
    }


def test_a_slot_that_once_was_late_can_still_be_stopped() -> None:
    async def story() -> None:
        settings = DispatchSettings(max_inflight=1, request_timeout_seconds=10.0, retries=0, backoff_seconds=0.0)
        run = Run(lambda _, __: after(1e6))
        run.settings = settings
        async with asyncio.TaskGroup() as group:
            going = group.create_task(run.go())
            await asyncio.sleep(15)
            run.stop.ask()
            run.stop.ask()
            await going
        assert now() == 15
        assert list(run.journal.results) == [0]

    in_virtual_time(story())


def test_an_answer_just_before_the_deadline_counts() -> None:
    run = Run(lambda _, __: after(9.999), request_timeout_seconds=10.0).done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 20
    assert run.tally.failures == {}


def test_an_engine_that_swallows_its_cancelling_does_no_harm() -> None:
    async def stubborn(line: int) -> Reply:
        try:
            await asyncio.sleep(100 if line == 0 else 1)
        except asyncio.CancelledError:
            return OK
        return OK

    run = Run(lambda line, _: stubborn(line), request_timeout_seconds=10.0, max_inflight=1).done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 20


def test_an_engine_out_of_reach_costs_time_and_no_retries() -> None:
    run = Run(lambda _, __: DOWN if now() < 500 else after(0.1), lines=100, retries=0).done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 100
    assert all(result.attempts == 1 for result in run.journal.results.values())
    assert run.tally.retries == 0
    assert sum(run.engine.tries.values()) < 400, "a dead engine is not hammered"
    assert run.tally.engine_down_since is None
    assert max(max(times) for times in run.engine.times.values()) < 520


def test_an_engine_out_of_reach_for_too_long_ends_the_run_and_says_how_to_go_on() -> None:
    async def story() -> None:
        run = Run(
            lambda line, __: DOWN if now() > 10 else after(1.0), lines=1000, max_inflight=8, engine_down_seconds=60.0
        )
        with pytest.raises(Unavailable, match=r"60 seconds: refused .*run the same command again"):
            await run.go()
        assert 0 < len(run.journal.results) < 1000
        assert 70 <= now() < 80
        assert run.tally.engine_down_since is not None

    in_virtual_time(story())


def test_a_poison_line_is_found_and_costs_no_other_line_its_answer() -> None:
    """The engine dies with whatever is on board as soon as line 7 comes."""
    died = asyncio.Event()

    async def answer(line: int) -> Reply:
        nonlocal died
        mine = died
        if line == 7:
            died = asyncio.Event()
            mine.set()
            return CRASH
        try:
            async with asyncio.timeout(1.0):
                await mine.wait()
        except TimeoutError:
            return OK
        return CRASH

    run = Run(lambda line, _: answer(line), lines=60, retries=0).done()
    assert run.outcomes == [Outcome.ERRORED if line == 7 else Outcome.SUCCEEDED for line in range(60)]
    poison = run.reply(7)
    assert isinstance(poison, Failure)
    assert poison.code == "engine_crashed"
    assert run.engine.tries[7] == 4
    assert run.engine.company[7][2:] == [0, 0], "a suspect runs alone"
    assert max(run.engine.times[59]) < 15, "and after it all run side by side again"


def test_an_exception_of_the_engine_ends_its_line_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(line: int, _: int) -> Reply:
        if line % 2:
            raise KeyError("secret detail")
        return OK

    run = Run(broken).done()
    assert run.outcomes == [Outcome.SUCCEEDED, Outcome.ERRORED] * 10
    reply = run.reply(1)
    assert isinstance(reply, Failure)
    assert reply.code == "internal"
    assert "KeyError" in reply.message
    assert "secret" not in reply.message
    assert len(caplog.records) == 1


def test_an_engine_that_is_gone_for_good_ends_the_run() -> None:
    def gone(line: int, _: int) -> Reply:
        if line == 5:
            raise Unavailable("The model file is gone.")
        return OK

    run = Run(gone, max_inflight=1)
    with pytest.raises(Unavailable, match="model file"):
        run.done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 5


def test_a_journal_that_cannot_write_ends_the_run() -> None:
    run = Run(lambda _, __: after(1.0), lines=1000, journal=MemoryJournal(breaks_after=10))
    with pytest.raises(Unavailable, match="disk is full"):
        run.done()
    assert len(run.journal.results) == 10


def test_a_source_that_fails_ends_the_run_with_its_own_error() -> None:
    def source() -> Iterator[Request]:
        yield Request(0, "a", "/v1/completions", "m", b"{}")
        raise Conflict("The input file has changed.")

    for wait in (0.0, 1.0):  # found by the station itself, or by a slot
        run = Run(lambda _, __, wait=wait: after(wait), max_inflight=1)
        run.requests = source()
        with pytest.raises(Conflict, match="changed"):
            run.done()


def test_a_full_journal_holds_the_requests_back() -> None:
    async def story() -> None:
        run = Run(lambda _, __: after(1.0), lines=1000, max_inflight=4)
        run.journal.has_room.clear()
        async with asyncio.TaskGroup() as group:
            going = group.create_task(run.go())
            await asyncio.sleep(100)
            assert len(run.journal.results) == 4
            assert run.pulled <= 6
            run.journal.has_room.set()
            await going
        assert len(run.journal.results) == 1000

    in_virtual_time(story())


def test_asked_to_stop_it_sends_nothing_new_and_keeps_what_comes_back() -> None:
    async def story() -> None:
        run = Run(lambda line, _: after(10.0, Answer(500, b"") if line == 0 else OK), lines=1000, max_inflight=8)
        async with asyncio.TaskGroup() as group:
            going = group.create_task(run.go())
            await asyncio.sleep(15)
            run.stop.ask()
            await going
        assert now() == 20
        assert len(run.journal.results) == 15
        assert set(run.outcomes) == {Outcome.SUCCEEDED}
        assert 0 not in run.journal.results, "a line that waits for another attempt is left to the next run"

    in_virtual_time(story())


def test_asked_twice_it_gives_up_what_is_in_flight_at_once() -> None:
    async def story() -> None:
        run = Run(lambda _, __: after(10.0), lines=1000, max_inflight=8)
        async with asyncio.TaskGroup() as group:
            going = group.create_task(run.go())
            await asyncio.sleep(15)
            run.stop.ask()
            run.stop.ask()
            await going
        assert now() == 15
        assert len(run.journal.results) == 8
        assert run.engine.board == set()

    in_virtual_time(story())


def test_asked_twice_before_anything_was_sent_it_ends() -> None:
    """The lines are taken, their slots are about to begin: these must not be waited for."""
    run = Run(lambda _, __: OK)
    fresh = run.requests

    def source() -> Iterator[Request]:
        yield next(fresh)
        run.stop.ask()
        run.stop.ask()
        yield from fresh

    run.requests = source()
    run.done()
    assert run.journal.results == {}


def test_asked_to_stop_while_all_wait_it_stops_at_once() -> None:
    async def story() -> None:
        run = Run(lambda _, __: DOWN, lines=10)
        async with asyncio.TaskGroup() as group:
            going = group.create_task(run.go())
            await asyncio.sleep(30.1)
            run.stop.ask()
            await going
        assert now() == 30.1
        assert run.journal.results == {}

    in_virtual_time(story())


def test_cancelling_the_station_cancels_all_of_it() -> None:
    async def story() -> None:
        run = Run(lambda _, __: after(10.0), lines=1000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await run.go()
        assert run.engine.board == set()
        assert len(asyncio.all_tasks()) == 1

    in_virtual_time(story())


@pytest.mark.parametrize("slots", [5, 50, 300])
def test_it_finds_how_much_an_unknown_engine_can_do(slots: int) -> None:
    gate: list[asyncio.Semaphore] = []

    async def served() -> Reply:
        if not gate:
            gate.append(asyncio.Semaphore(slots))
        async with gate[0]:
            return await after(1.0)

    async def story() -> None:
        run = Run(lambda _, __: served(), lines=100 * slots)
        await run.go()
        assert run.engine.most <= max(64, 4 * slots)
        late = max(run.engine.company[line][0] for line in range(90 * slots, 100 * slots))
        assert late + 1 < run.engine.most, "what did not pay was withdrawn"
        assert now() < 100 * 1.25 + 20, "nearly as quick as with the right limit from the start"

    in_virtual_time(story())


def test_it_backs_off_where_the_engine_says_it_is_full() -> None:
    busy = 0

    async def limited() -> Reply:
        nonlocal busy
        if busy >= 10:
            return Answer(429, b"{}")
        busy += 1
        await asyncio.sleep(1.0)
        busy -= 1
        return OK

    run = Run(lambda _, __: limited(), lines=1000, retries=10).done()
    assert run.outcomes == [Outcome.SUCCEEDED] * 1000
    assert run.tally.retries < 300
    assert run.tally.limit <= 16


def test_the_users_own_limit_is_used_in_full_and_never_passed() -> None:
    run = Run(lambda _, __: after(1.0), lines=500, max_inflight=37).done()
    assert run.engine.most == 37
    assert run.tally.limit == 37


def test_known_slots_are_kept_busy_twice_over() -> None:
    abilities = Abilities(endpoints=ABILITIES.endpoints, models=None, slots=4)
    run = Run(lambda _, __: after(1.0), lines=8, abilities=abilities).done()
    assert run.engine.most == 8


def test_bodies_in_flight_are_bounded_in_bytes() -> None:
    run = Run(lambda _, __: after(1.0), lines=30, body=b"x" * (20 << 20), max_inflight=16).done()
    assert run.engine.most == 3
    assert len(run.journal.results) == 30


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_engine_does_every_line_has_one_result(seed: int) -> None:
    random = Random(seed)

    def answer(line: int, _: int) -> Awaitable[Reply]:
        choices: list[Reply] = [
            OK,
            OK,
            Answer(400, b"{}"),
            Answer(429, b"{}", retry_after_seconds=random.choice([None, 0.0, 7.0])),
            Answer(503, b""),
            DOWN,
            CRASH,
            Failure("connection_lost", "x", Fault.LOST),
        ]
        return after(random.choice([0.0, 0.1, 1.0, 500.0]), random.choice(choices))

    run = Run(answer, lines=200, request_timeout_seconds=20.0).done()
    assert sorted(run.journal.results) == list(range(200))
    assert run.tally.succeeded + run.tally.errored == 200
    assert run.tally.succeeded > 50


class Embedding:
    """An engine that answers groups of texts as a function of the texts says."""

    restarts = 0

    def __init__(self, answer: Callable[[list[str], int], Reply]) -> None:
        self._answer = answer
        self.calls: list[list[str]] = []
        self.board: list[list[str]] = []
        self.alone: list[str] = []
        self.most = 0

    async def start(self) -> Abilities:
        return ABILITIES

    async def infer(self, request: Request) -> Reply:
        given = msgspec.json.decode(request.body)["input"]
        texts: list[str] = [given] if isinstance(given, str) else given
        assert request.lines == len(texts)
        self.calls.append(texts)
        self.board.append(texts)
        self.most = max(self.most, sum(map(len, self.board)))
        await asyncio.sleep(0.01)
        if len(self.board) == 1 and len(texts) == 1:
            self.alone += texts
        self.board.remove(texts)
        return self._answer(texts, len(self.calls))

    async def close(self) -> None:
        return None


def vectors(texts: list[str]) -> Answer:
    data = [{"index": place, "embedding": text} for place, text in enumerate(texts)]
    return Answer(200, msgspec.json.encode({"data": data}), usage=Usage(len(texts)))


def embed(
    engine: Embedding, lines: int, abilities: Abilities = ABILITIES, **settings: float
) -> tuple[MemoryJournal, Tally]:
    """Embed the texts t0, t1, ... in groups of 8."""
    journal, tally = MemoryJournal(), Tally()
    requests = (
        Request(line, f"id-{line}", "/v1/embeddings", "m", b'{"model":"m","input":"t%d"}' % line)
        for line in range(lines)
    )
    told = msgspec.convert(settings, DispatchSettings)
    parts = (engine, abilities, journal, told, tally, Stop())
    in_virtual_time(dispatch(requests, *parts, random=Random(0), groups=Groups(GROUPED, 8)))
    assert sorted(journal.results) == list(range(lines))
    for line, result in journal.results.items():
        if isinstance(result.reply, Answer) and result.reply.ok:
            assert msgspec.json.decode(result.reply.body)["data"] == [{"index": 0, "embedding": f"t{line}"}]
    return journal, tally


def test_a_line_that_kills_the_engine_is_found_alone_though_it_came_in_a_group() -> None:
    engine = Embedding(lambda texts, _: CRASH if "t21" in texts else vectors(texts))
    journal, _ = embed(engine, 40, max_inflight=2, backoff_seconds=0.0)
    failed = {line for line, result in journal.results.items() if result.outcome is not Outcome.SUCCEEDED}
    assert failed == {21}
    assert [len(texts) for texts in engine.calls if "t21" in texts] == [8, 1, 1, 1]
    assert engine.alone.count("t21") >= 2


def test_an_engine_that_is_away_puts_whole_groups_off_and_nobody_pays() -> None:
    engine = Embedding(lambda texts, call: DOWN if call <= 3 else vectors(texts))
    journal, tally = embed(engine, 40, max_inflight=2)
    assert all(result.attempts == 1 for result in journal.results.values())
    assert tally.retries == 0
    assert max(len(texts) for texts in engine.calls[3:]) == 8


def test_lines_that_are_always_put_off_together_are_asked_in_smaller_groups() -> None:
    """As where a limit on tokens is less than what a group asks for."""
    engine = Embedding(lambda texts, _: Answer(429, b"{}") if len(texts) > 2 else vectors(texts))
    journal, tally = embed(engine, 16, max_inflight=1)
    assert all(result.outcome is Outcome.SUCCEEDED for result in journal.results.values())
    assert tally.succeeded == 16


def test_the_usage_of_a_call_is_counted_once() -> None:
    _, tally = embed(Embedding(lambda texts, _: vectors(texts)), 100)
    assert tally.input_tokens == 100


@pytest.mark.parametrize(("slots", "most"), [(None, 16 * 8), (10, 2 * 10 + 7)])
def test_what_is_in_flight_is_counted_in_lines_where_slots_are_known(slots: int | None, most: int) -> None:
    engine = Embedding(lambda texts, _: vectors(texts))
    embed(engine, 200, msgspec.structs.replace(ABILITIES, slots=slots))
    assert most - 8 < engine.most <= most
    assert max(map(len, engine.calls)) == 8
