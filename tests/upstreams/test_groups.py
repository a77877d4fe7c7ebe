"""Embeddings that are asked together, over real HTTP: each line has its own answer, whatever comes of the call."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import pytest

from batchyard.config import DispatchSettings
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Outcome
from batchyard.endpoints.embeddings import GROUPED
from batchyard.engines import http
from batchyard.pipeline.dispatch import dispatch
from batchyard.pipeline.group import Groups
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally
from tests.support.memory_journal import MemoryJournal
from tests.support.upstream import (
    Asked,
    Move,
    Talk,
    Upstream,
    answer,
    closes_early,
    embeddings,
    embeds,
    good,
    hangs,
    says,
    vector,
)

EMBEDDINGS = "/v1/embeddings"
TOO_MANY = answer(b'{"error":{"message":"slow down"}}', 429, {"retry_after": "0"})


@dataclass
class Done:
    journal: MemoryJournal
    tally: Tally
    calls: list[Asked]
    groups: Groups

    @property
    def sizes(self) -> list[int]:
        """How many texts each call had."""
        return [len(texts_of(call)) for call in self.calls]

    def reply(self, line: int) -> Answer:
        reply = self.journal.results[line].reply
        assert isinstance(reply, Answer)
        return reply

    def check(self, texts: list[str]) -> None:
        """Exactly one result for each line, and each its own."""
        assert sorted(self.journal.results) == list(range(len(texts)))
        for line, text in enumerate(texts):
            result, reply = self.journal.results[line], self.reply(line)
            assert result.custom_id == f"id-{line}"
            if text.startswith("bad"):
                assert result.outcome is Outcome.ERRORED and reply.status == 400
                assert json.loads(reply.body)["error"]["message"] == f"I do not embed {text!r}."
            else:
                assert result.outcome is Outcome.SUCCEEDED
                assert b'"index":0,"embedding":' + vector(text).encode() in reply.body
                body = json.loads(reply.body)
                assert (body["object"], body["model"], len(body["data"])) == ("list", "m-1", 1)
                assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == reply.usage.input_tokens > 0
        self.check_tokens(texts)

    def check_tokens(self, texts: list[str]) -> None:
        assert self.tally.input_tokens == sum(len(text.split()) for text in texts if not text.startswith("bad"))


def texts_of(call: Asked) -> list[str]:
    given: Any = call.json["input"]
    return [given] if isinstance(given, str) else given


def a_request(line: int, text: str, **options: Any) -> Request:
    body = {"model": "m", "input": text, **options}
    return Request(line, f"id-{line}", EMBEDDINGS, "m", json.dumps(body).encode())


async def embedded(requests: Iterator[Request], *moves: Move, default: Move, most: int = 64, **settings: float) -> Done:
    told = {"backoff_seconds": 0.001, "request_timeout_seconds": 10.0, **settings}
    done = Done(MemoryJournal(), Tally(), [], Groups(GROUPED, most))
    async with Upstream(*moves, default=default) as upstream:
        engine = http.open(http.Config(urls=(upstream.url,)))
        parts = (engine, await engine.start(), done.journal, msgspec.convert(told, DispatchSettings), done.tally)
        await dispatch(requests, *parts, Stop(), random=Random(1), groups=done.groups)
        await engine.close()
        done.calls = upstream.posts
    assert done.tally.inflight == 0
    return done


def some_texts(count: int, bad: int = 0) -> list[str]:
    """Texts of several lengths and alphabets, some of them bad."""
    words = ("a cat", 'says "meow"\n', "häufig", "\u2028 line", "and so on and so on")
    every = count // bad if bad else count + 1
    return [f"{'bad ' if n % every == every - 1 else ''}{words[n % len(words)]} {n}" for n in range(count)]


def each(texts: list[str]) -> Iterator[Request]:
    return (a_request(line, text) for line, text in enumerate(texts))


async def test_thousands_of_lines_with_bad_ones_among_them_take_a_tenth_of_the_calls() -> None:
    texts = some_texts(5000, bad=10)
    done = await embedded(each(texts), default=embeds())
    done.check(texts)
    assert len(done.calls) < len(texts) / 10
    assert max(done.sizes) == 64
    assert done.tally.failures == {"http_400": 10}
    assert all(result.attempts == 1 for result in done.journal.results.values())


async def test_a_group_is_never_waited_for() -> None:
    done = await embedded(each(["one text"]), default=embeds())
    done.check(["one text"])
    assert [call.json["input"] for call in done.calls] == ["one text"]


async def test_only_lines_with_equal_options_are_asked_together() -> None:
    kinds = [{"dimensions": 8}, {"dimensions": 9}, {"encoding_format": "base64"}, {}]
    requests = [a_request(n, f"text {n}", **kinds[n % 4]) for n in range(400)]
    done = await embedded(iter(requests), default=embeds())
    assert sorted(done.journal.results) == list(range(400))
    assert len(done.calls) <= 40
    for call in done.calls:
        wanted = {key: value for key, value in call.json.items() if key not in ("model", "input")}
        assert all(kinds[int(text.split()[1]) % 4] == wanted for text in texts_of(call))


async def test_what_is_no_single_text_goes_alone_among_the_others() -> None:
    unusual: list[Any] = [["a", "b"], [1, 2, 3], "", None, {"text": "x"}]
    requests = [a_request(n, unusual[n] if n < 5 else f"text {n}") for n in range(40)]
    done = await embedded(iter(requests), default=good())
    alone = [json.dumps(call.json["input"]) for call in done.calls if len(call.json["input"] or "") < 4]
    assert sorted(done.journal.results) == list(range(40))
    assert {json.dumps(each) for each in unusual} - {json.dumps({"text": "x"})} <= {*alone, '{"text": "x"}'}


@pytest.mark.parametrize("most", [1, 3, 16, 63])
async def test_an_upstream_that_takes_fewer_texts_is_asked_for_fewer_from_then_on(most: int) -> None:
    texts = some_texts(1500)
    done = await embedded(each(texts), default=embeds(most=most), max_inflight=2)
    done.check(texts)
    assert done.groups.most <= most
    assert max(done.sizes[-20:]) <= most
    assert sum(size > most for size in done.sizes) < 20


async def test_an_upstream_that_takes_no_arrays_gets_one_text_after_another() -> None:
    texts = some_texts(600, bad=3)
    done = await embedded(each(texts), default=embeds(arrays=False), max_inflight=2)
    done.check(texts)
    assert sum(isinstance(call.json["input"], list) for call in done.calls) < 200


def misfit(kind: str) -> Move:
    async def move(asked: Asked, talk: Talk) -> None:
        texts = texts_of(asked)
        body = json.loads(embeddings(texts))
        if len(texts) > 1:
            match kind:
                case "one too few":
                    body["data"].pop()
                case "no index":
                    del body["data"][0]["index"]
                case "an index twice":
                    body["data"][0]["index"] = 1
                case "no data":
                    del body["data"]
                case _:
                    body["data"] = "what"
        await talk.say(answer(json.dumps(body).encode()))

    return move


@pytest.mark.parametrize("kind", ["one too few", "no index", "an index twice", "no data", "another type"])
async def test_an_answer_that_does_not_fit_is_asked_for_line_by_line(kind: str) -> None:
    texts = some_texts(80)
    done = await embedded(each(texts), default=misfit(kind), max_inflight=1)
    assert sorted(done.journal.results) == list(range(80))
    assert all(len(json.loads(done.reply(line).body)["data"]) == 1 for line in range(80))
    done.check_tokens(texts)


async def test_answers_in_another_order_reach_their_lines() -> None:
    async def backwards(asked: Asked, talk: Talk) -> None:
        body = embeddings(texts_of(asked))
        first, last = body.index(b"[") + 1, body.rindex(b"],")
        items = body[first:last].split(b",{")
        data = b",".join(item if item[:1] == b"{" else b"{" + item for item in reversed(items))
        await talk.say(answer(body[:first] + data + body[last:]))

    texts = some_texts(200)
    (await embedded(each(texts), default=backwards)).check(texts)


async def test_an_overload_puts_all_lines_of_a_group_off_and_costs_no_line_a_retry() -> None:
    texts = some_texts(300)
    done = await embedded(each(texts), *[says(TOO_MANY)] * 4, default=embeds(), retries=0)
    done.check(texts)
    assert len(done.calls) < 40


@pytest.mark.parametrize("evil", [closes_early(b"HTTP/1.1 200 OK\r\n"), says(answer(b"<html>"))])
async def test_lines_of_a_lost_call_pay_one_retry_and_go_alone(evil: Move) -> None:
    texts = some_texts(100)
    done = await embedded(each(texts), evil, default=embeds(), most=8, retries=1, max_inflight=1)
    done.check(texts)
    assert Counter(result.attempts for result in done.journal.results.values()) == {2: 8, 1: 92}
    assert done.sizes.count(1) == 8
    assert done.groups.most == 8, "a lost connection says nothing about size"


async def test_a_group_that_takes_too_long_is_answered_line_by_line() -> None:
    async def slow(asked: Asked, talk: Talk) -> None:
        await (hangs() if len(texts_of(asked)) > 8 else embeds())(asked, talk)

    texts = some_texts(100)
    done = await embedded(each(texts), default=slow, most=16, retries=1, request_timeout_seconds=0.2, max_inflight=2)
    done.check(texts)
    assert done.groups.most == 8


async def test_a_refused_key_is_told_to_every_line_at_once() -> None:
    refusal = answer(b'{"error":{"message":"no such model"}}', 404)
    done = await embedded(each(some_texts(128)), default=says(refusal))
    assert [done.reply(line).status for line in range(128)] == [404] * 128
    assert len(done.calls) == 16


async def test_a_server_error_of_one_line_takes_no_other_along() -> None:
    async def breaks(asked: Asked, talk: Talk) -> None:
        if any("poison" in text for text in texts_of(asked)):
            await talk.say(answer(b"oops", 500))
        else:
            await embeds()(asked, talk)

    texts = [f"{'poison' if n == 77 else 'text'} {n}" for n in range(256)]
    done = await embedded(each(texts), default=breaks, retries=2)
    failed = {line for line, result in done.journal.results.items() if result.outcome is not Outcome.SUCCEEDED}
    assert failed == {77}
    assert done.journal.results[77].attempts == 3


async def test_a_run_that_is_stopped_at_once_leaves_lines_without_a_result_and_none_with_two() -> None:
    stop, came = Stop(), asyncio.Event()

    async def holds(asked: Asked, talk: Talk) -> None:
        came.set()
        await talk.closing.wait()

    journal, tally = MemoryJournal(), Tally()
    async with Upstream(embeds(), default=holds) as upstream:
        engine = http.open(http.Config(urls=(upstream.url,)))
        settings = DispatchSettings(max_inflight=1)
        parts = (engine, await engine.start(), journal, settings, tally, stop)
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatch(each(some_texts(200)), *parts, random=Random(1), groups=Groups(GROUPED, 64)))
            await came.wait()
            stop.ask()
            stop.ask()
        await engine.close()
    assert sorted(journal.results) == list(range(8))
    assert not any(isinstance(result.reply, Failure) for result in journal.results.values())
