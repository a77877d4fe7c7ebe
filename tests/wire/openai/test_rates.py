"""Rates of interactive calls, as the official client meets them. Time moves when a test says so."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, RateLimitError

from batchyard.domain.access import ModelLimits, Quota, Role
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply, Usage
from tests.support.serving import MODEL, live
from tests.wire.openai.test_walks import CHAT, WALKS, a_line, create, ended, jsonl


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def using(tokens: int) -> Any:
    """An engine whose answers all cost the same."""

    async def script(request: Request) -> Reply:
        usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
        message = {"role": "assistant", "content": "ok"}
        body = {
            "id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        }  # fmt: skip
        return Answer(200, json.dumps(body).encode(), usage=Usage(tokens))

    return script


async def chat(client: AsyncOpenAI, text: str = "hi", model: str = MODEL, **asked: Any) -> Any:
    raw: Any = client.chat.completions.with_raw_response
    answer = await raw.create(model=model, messages=[{"role": "user", "content": text}], **asked)
    return answer.headers


async def refused(client: AsyncOpenAI, text: str = "hi", **asked: Any) -> RateLimitError:
    with pytest.raises(RateLimitError) as error:
        await chat(client, text, **asked)
    return error.value


async def test_calls_beyond_the_rate_are_refused_until_time_has_passed() -> None:
    seconds, limits = Seconds(), ModelLimits(requests_per_minute=2)
    async with live(model_limits=limits, rate_seconds=seconds) as server, server.client() as client:
        first, second = await chat(client), await chat(client)
        error = await refused(client)
        seconds.now += 30
        third = await chat(client)
    assert [headers["x-ratelimit-remaining-requests"] for headers in (first, second, third)] == ["1", "0", "0"]
    assert first["x-ratelimit-limit-requests"] == "2" and second["x-ratelimit-reset-requests"] == "1m0s"
    assert (error.code, error.type, error.param) == ("rate_limit_exceeded", "requests", None)
    assert "Rate limit reached for echo-1 in project proj_home on requests per min (RPM): Limit 2, Used 2" in str(error)
    headers = error.response.headers
    assert (headers["retry-after"], headers["retry-after-ms"], headers["x-should-retry"]) == ("30", "30000", "true")
    assert headers["x-ratelimit-remaining-requests"] == "0"


async def test_the_client_comes_again_when_it_is_told_and_is_let_in() -> None:
    seconds, limits, told = Seconds(), ModelLimits(requests_per_minute=600), list[str]()

    async def hear(response: Any) -> None:
        if response.status_code == 429:
            told.append(response.headers["retry-after-ms"])
            seconds.now += int(told[-1]) / 1000

    async with live(model_limits=limits, rate_seconds=seconds) as server:
        caller = await server.house.access.authenticate(server.secret)
        for _ in range(600):
            server.house.tolls.enter(caller, server.house.models.find(MODEL), CHAT, b"{}", {})
        async with DefaultAsyncHttpxClient(event_hooks={"response": [hear]}) as transport:
            client = AsyncOpenAI(
                base_url=f"{server.url}/v1", api_key=server.secret, http_client=transport, max_retries=1
            )
            await chat(client)
    assert told == ["100"]


async def test_tokens_are_estimated_before_and_counted_after() -> None:
    seconds, limits = Seconds(), ModelLimits(tokens_per_minute=1000)
    options: dict[str, Any] = {"model_limits": limits, "rate_seconds": seconds, "script": using(100)}
    async with live(**options) as server, server.client() as client:
        first = await chat(client, max_tokens=900)
        second = await chat(client, max_tokens=800)
        error = await refused(client, max_tokens=801)
    assert 0 < int(first["x-ratelimit-remaining-tokens"]) <= 100
    assert 0 <= int(second["x-ratelimit-remaining-tokens"]) < 100, "the first one gave back what it did not use"
    assert error.type == "tokens" and "tokens per min (TPM): Limit 1000, Used 200" in str(error)
    assert "x-ratelimit-limit-requests" not in first


async def test_a_call_larger_than_a_minute_goes_alone() -> None:
    seconds, limits = Seconds(), ModelLimits(tokens_per_minute=100)
    options: dict[str, Any] = {"model_limits": limits, "rate_seconds": seconds, "script": using(150)}
    async with live(**options) as server, server.client() as client:
        await chat(client, max_tokens=100_000)
        error = await refused(client, max_tokens=100_000)
        seconds.now += 90
        await chat(client, max_tokens=100_000)
    assert error.response.headers["retry-after"] == "90", "it used half a minute more than there was"


async def test_an_engine_that_failed_costs_no_tokens() -> None:
    async def script(_: Request) -> Reply:
        return Answer(400, b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}')

    limits = ModelLimits(tokens_per_minute=100)
    async with live(model_limits=limits, rate_seconds=Seconds(), script=script) as server, server.client() as client:
        for _ in range(3):
            with pytest.raises(Exception, match="no"):
                await chat(client, max_tokens=90)


async def test_each_project_and_each_model_has_a_rate_of_its_own() -> None:
    own = Quota(models={"other": ModelLimits(requests_per_minute=2)})
    limits = ModelLimits(requests_per_minute=1)
    options: dict[str, Any] = {"names": (MODEL, "other"), "model_limits": limits, "quota": own}
    async with live(**options, rate_seconds=Seconds()) as server, server.client() as client:
        assert (await chat(client, model="other"))["x-ratelimit-limit-requests"] == "2"
        await chat(client)
        await refused(client)
        await chat(client, model="other")
        async with server.client(key=await server.key(Role.EDITOR, project="theirs")) as theirs:
            await chat(theirs)
            await refused(theirs)


async def test_without_limits_no_answer_speaks_of_them() -> None:
    async with live() as server, server.client() as client:
        assert not [name for name in await chat(client) if name.startswith("x-ratelimit")]


async def test_a_rate_of_nothing_is_not_to_be_waited_for() -> None:
    async with live(model_limits=ModelLimits(requests_per_minute=0)) as server, server.client() as client:
        error = await refused(client)
    assert error.response.headers["x-should-retry"] == "false" and "retry-after" not in error.response.headers


async def test_batches_do_not_count_against_rates() -> None:
    limits = ModelLimits(requests_per_minute=1, tokens_per_minute=1)
    lines = [a_line(f"l{n}") for n in range(20)]
    async with live(walks=WALKS, model_limits=limits, rate_seconds=Seconds()) as server, server.client() as client:
        assert (await ended(client, (await create(client, jsonl(*lines))).id)).status == "completed"
        await chat(client)


async def test_azure_has_its_own_word_for_it() -> None:
    limits = ModelLimits(requests_per_minute=0)
    async with live(model_limits=limits) as server, server.azure() as client:
        error = await refused(client)
    assert error.code == "tooManyRequests"
