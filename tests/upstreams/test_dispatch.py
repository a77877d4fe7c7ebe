"""Dispatch, engine and client against an upstream that fails, hangs and lies: each line still has its own answer."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import msgspec
import pytest
import uvloop

from batchyard.config import DispatchSettings
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Outcome
from batchyard.engine import Abilities
from batchyard.engines import http
from batchyard.pipeline.dispatch import dispatch
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from tests.support.memory_journal import MemoryJournal
from tests.support.upstream import (
    Asked,
    Move,
    Talk,
    Upstream,
    answer,
    chunked,
    closes_early,
    drips,
    floods,
    good,
    hangs,
    resets,
    says,
)

CHAT = "/v1/chat/completions"
LINES = 12
OK = b"HTTP/1.1 200 OK\r\n"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass
class Done:
    journal: MemoryJournal
    tally: Tally

    def assert_every_line_has_its_own_answer(self, lines: int = LINES) -> None:
        assert sorted(self.journal.results) == list(range(lines))
        for line, result in self.journal.results.items():
            assert result.outcome is Outcome.SUCCEEDED
            assert isinstance(result.reply, Answer)
            assert json.loads(result.reply.body)["echo"]["n"] == line


def requests(lines: int) -> Iterator[Request]:
    return (Request(n, f"id-{n}", CHAT, "m", b'{"model":"m","n":%d}' % n) for n in range(lines))


async def dispatched(upstream: Upstream, lines: int = LINES, **settings: float) -> Done:
    engine = http.open(http.Config(urls=(upstream.url,), answer_bytes=1 << 20))
    told = {"backoff_seconds": 0.001, "request_timeout_seconds": 10.0, "max_inflight": 4, **settings}
    done = Done(MemoryJournal(), Tally())
    parts = (engine, await engine.start(), done.journal, msgspec.convert(told, DispatchSettings), done.tally, Stop())
    await dispatch(requests(lines), *parts, random=Random(1))
    await engine.close()
    return done


def at_first(evil: Move) -> Move:
    """Treat each line's first attempt like this, the others well."""
    seen = Counter[int]()

    async def move(asked: Asked, talk: Talk) -> None:
        seen[asked.json["n"]] += 1
        await (evil if seen[asked.json["n"]] == 1 else good())(asked, talk)

    return move


def echoes(frame: Callable[[bytes], bytes], *, byte_by_byte: bool = False) -> Move:
    """The right answer in another frame."""

    async def move(asked: Asked, talk: Talk) -> None:
        data = frame(json.dumps({"echo": asked.json}).encode())
        await (drips(data, 0.0) if byte_by_byte else says(data))(asked, talk)

    return move


HARMLESS = {
    "chunked": echoes(lambda body: chunked(body[:3], body[3:])),
    "chunked byte by byte": echoes(chunked, byte_by_byte=True),
    "byte by byte": echoes(answer, byte_by_byte=True),
    "hints first": echoes(lambda body: b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(body)),
    "gzip": echoes(lambda body: answer(gzip.compress(body), headers={"content_encoding": "gzip"})),
}
LOST = {
    "closes": closes_early(),
    "closes before its head ends": closes_early(OK + b"content-le"),
    "closes before its body": closes_early(OK + b"content-length: 10\r\n\r\n"),
    "closes in its body": closes_early(OK + b'content-length: 10\r\n\r\n{"a"'),
    "resets": resets(),
    "resets in its body": resets(OK + b'content-length: 10\r\n\r\n{"a"'),
    "promises too much": closes_early(OK + b"content-length: 100\r\n\r\n{}"),
    "promises too little": says(OK + b'content-length: 2\r\n\r\n{"echo":{"n":0}}'),
    "closes in a chunk": closes_early(OK + b"transfer-encoding: chunked\r\n\r\n5\r\n{"),
    "breaks a chunk": says(OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n"),
    "ends without length too early": closes_early(OK + b'\r\n{"echo":'),
    "speaks nonsense": says(b"220 smtp.example ESMTP\r\n"),
    "says nothing with 200": says(OK + b"content-length: 0\r\n\r\n"),
    "says nothing with 204": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "sends a page": says(answer(b"<html>hello</html>")),
    "sends half of its JSON": says(answer(b'{"echo": {"n": 0}')),
    "answers twice": says(answer(b"{}") + answer(b"{}")),
    "floods its head": floods(OK, b"x: " + b"y" * 1000 + b"\r\n"),
    "floods its body": floods(OK + b"content-length: 99999999\r\n\r\n", b"x" * 100_000),
    "is full": says(answer(b'{"error":{}}', 503)),
    "fails": says(answer(b"oops", 500)),
    "limits": says(answer(b'{"error":{}}', 429, {"retry_after_ms": "5"})),
}
HANGS = {
    "says nothing": hangs(),
    "stops in its head": hangs(OK + b"content-"),
    "stops in its body": hangs(OK + b"content-length: 10\r\n\r\n{"),
    "promises too much": hangs(OK + b"content-length: 10\r\n\r\n{}"),
    "stops in a chunk": hangs(OK + b"transfer-encoding: chunked\r\n\r\n5\r\n{"),
    "drips": drips(OK + b"content-length: 2\r\n\r\n{}", 0.01),
}


def run(loop: str, move: Move, lines: int = LINES, **settings: float) -> tuple[Done, Upstream]:
    async def story() -> tuple[Done, Upstream]:
        async with Upstream(default=move) as upstream:
            return await dispatched(upstream, lines, **settings), upstream

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(story())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", HARMLESS)
def test_an_odd_answer_is_an_answer(loop: str, kind: str) -> None:
    done, upstream = run(loop, HARMLESS[kind])
    done.assert_every_line_has_its_own_answer()
    assert done.tally.retries == 0
    assert len(upstream.posts) == LINES


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", LOST)
def test_a_broken_answer_costs_a_retry_and_nothing_else(loop: str, kind: str) -> None:
    done, upstream = run(loop, at_first(LOST[kind]))
    done.assert_every_line_has_its_own_answer()
    assert done.tally.retries <= LINES
    assert len(upstream.posts) == 2 * LINES
    assert done.tally.errored == 0


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", HANGS)
def test_an_upstream_that_hangs_costs_a_timeout_and_nothing_else(loop: str, kind: str) -> None:
    done, _ = run(loop, at_first(HANGS[kind]), request_timeout_seconds=0.1, max_inflight=LINES, retries=20)
    done.assert_every_line_has_its_own_answer()
    assert done.tally.failures.keys() == {"request_timeout"}
    assert done.tally.retries >= LINES


def test_an_upstream_that_never_recovers_makes_error_lines() -> None:
    done, upstream = run("asyncio", closes_early(OK), retries=2)
    assert [result.outcome for result in done.journal.results.values()] == [Outcome.ERRORED] * LINES
    assert len(upstream.posts) == 3 * LINES


def test_an_upstream_that_closes_after_each_answer_costs_no_retry() -> None:
    """Without saying so: every kept connection may be stale when it is used again."""

    async def move(asked: Asked, talk: Talk) -> None:
        await good()(asked, talk)
        talk.writer.close()

    done, _ = run("asyncio", move)
    done.assert_every_line_has_its_own_answer()
    assert done.tally.retries == 0


class Noticing(dict[str, int]):
    """Counts, and an event for the first of one kind."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.awaited = awaited
        self.noticed = asyncio.Event()

    def __setitem__(self, key: str, value: int) -> None:
        super().__setitem__(key, value)
        if key == self.awaited:
            self.noticed.set()


async def test_an_upstream_that_goes_away_for_a_while_costs_no_retry() -> None:
    async with Upstream() as first:
        port = first.port
    failures = Noticing("engine_unreachable")
    done = Done(MemoryJournal(), Tally(failures=failures))
    engine = http.open(http.Config(urls=(f"http://localhost:{port}",)))
    settings = DispatchSettings(backoff_seconds=0.001, retries=0)
    parts = (engine, Abilities(endpoints=http.ENDPOINTS, models=None), done.journal, settings, done.tally, Stop())
    async with asyncio.TaskGroup() as group:
        going = group.create_task(dispatch(requests(LINES), *parts, random=Random(1)))
        await failures.noticed.wait()
        async with Upstream(port=port):
            await going
    await engine.close()
    done.assert_every_line_has_its_own_answer()
    assert done.tally.retries == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_an_upstream_that_does_all_of_it_at_random_costs_no_line(loop: str) -> None:
    random = Random(7)
    evils = [*LOST.values(), *HARMLESS.values(), hangs(), *[good()] * 20]

    async def move(asked: Asked, talk: Talk) -> None:
        await random.choice(evils)(asked, talk)

    settings = {"retries": 50, "request_timeout_seconds": 0.3, "max_inflight": 64}
    done, _ = run(loop, at_first(move), 300, **settings)
    assert sorted(done.journal.results) == list(range(300))
    done.assert_every_line_has_its_own_answer(300)
