"""What both embedded engines must do, on the real demo model."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from batchyard import demo
from batchyard.domain.errors import NotFound, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.workers.engine import WorkerEngine
from tests.support.embedded import CHAT, ENGINES, a_chat, a_request, refused, text, told
from tests.unit.engines.conftest import Started

pytestmark = pytest.mark.parametrize("kind", list(ENGINES))

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
    "required": ["name", "city"],
    "additionalProperties": False,
}


def as_format(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}


async def all_answers(engine: WorkerEngine, requests: Sequence[Request]) -> list[Reply]:
    return await asyncio.gather(*(engine.infer(request) for request in requests))


def demo_requests() -> list[Request]:
    lines = [msgspec.json.decode(line) for line in demo.requests().read_bytes().splitlines()]
    return [
        Request(place, line["custom_id"], line["url"], "demo", msgspec.json.encode(line["body"]))
        for place, line in enumerate(lines)
    ]


async def test_every_line_of_the_demo_is_answered_right(started: Started, kind: str) -> None:
    engine = await started(kind)
    requests = demo_requests()
    replies = await all_answers(engine, requests)
    said = {request.custom_id: text(reply) for request, reply in zip(requests, replies, strict=True)}
    assert said == demo.answers()


async def test_an_answer_has_openai_s_shape(started: Started, kind: str) -> None:
    engine = await started(kind, names=frozenset({"org/some-name"}))
    reply = await engine.infer(
        a_request(CHAT, model="org/some-name", messages=[{"role": "user", "content": "Add 2 and 5."}], temperature=0)
    )
    body = told(reply)
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", "org/some-name")
    assert isinstance(body["created"], int)
    choice = {"index": 0, "logprobs": None, "finish_reason": "stop"}
    assert body["choices"] == [{**choice, "message": {"role": "assistant", "content": "7", "refusal": None}}]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert "cached_tokens" in usage["prompt_tokens_details"]
    assert isinstance(reply, Answer)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (usage["prompt_tokens"], 2)
    assert reply.request_id == body["id"]


async def test_a_text_completion_has_openai_s_shape(started: Started, kind: str) -> None:
    engine = await started(kind)
    prompts = [f"<|im_start|>user\nAdd {a} and 5.<|im_end|>\n<|im_start|>assistant\n" for a in (2, 3)]
    body = told(await engine.infer(a_request("/v1/completions", prompt=prompts, temperature=0, n=2, logprobs=0)))
    assert body["object"] == "text_completion"
    assert [choice["text"] for choice in body["choices"]] == ["7", "7", "8", "8"]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    logprobs = body["choices"][0]["logprobs"]
    assert (logprobs["tokens"], logprobs["text_offset"]) == (["7"], [0])
    assert logprobs["token_logprobs"][0] < 0


async def test_a_json_schema_is_followed_by_every_line(started: Started, kind: str) -> None:
    engine = await started(kind)
    # Nothing in these questions asks for JSON: the schema alone makes the answers parse.
    schema = {**PERSON, "properties": {name: {"type": "string", "maxLength": 12} for name in ("name", "city")}}
    requests = [
        a_chat(f"What is the capital of {country}?", response_format=as_format(schema), max_tokens=200, seed=place)
        for place, country in enumerate(["Peru", "Chile", "Japan", "Kenya", "Norway"] * 10)
    ]
    for reply in await all_answers(engine, requests):
        jsonschema.validate(msgspec.json.decode(text(reply)), schema)


async def test_a_bad_schema_costs_only_its_own_line(started: Started, kind: str) -> None:
    engine = await started(kind)
    good = demo_requests()[:40]
    schemas: list[object] = [{"type": "nonsense"}, {"$ref": "#/nowhere"}, "not JSON", 7]
    bad = [a_chat(line=900 + place, response_format=as_format(schema)) for place, schema in enumerate(schemas)]
    mixed = [*good]
    for place, request in enumerate(bad):
        mixed.insert(11 * place, request)
    replies = dict(zip((request.line for request in mixed), await all_answers(engine, mixed), strict=True))
    for request in bad:
        assert refused(replies[request.line])["message"]
    said = {request.custom_id: text(replies[request.line]) for request in good}
    assert said == {request.custom_id: demo.answers()[request.custom_id] for request in good}
    assert engine.restarts == 0


async def test_log_probabilities_are_told(started: Started, kind: str) -> None:
    engine = await started(kind)
    reply = await engine.infer(a_chat("What is 30 + 40?", logprobs=True))
    entries = told(reply)["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in entries] == ["7", "0"]
    assert [entry["bytes"] for entry in entries] == [[55], [48]]
    assert all(entry["logprob"] <= 0 and entry["top_logprobs"] == [] for entry in entries)


async def test_choices_of_one_request_differ_but_a_seed_repeats_them(started: Started, kind: str) -> None:
    engine = await started(kind)
    wild: dict[str, Any] = {"n": 4, "temperature": 5.0, "max_tokens": 12, "seed": 11}

    async def choices() -> list[str]:
        body = told(await engine.infer(a_chat(**wild)))
        return [choice["message"]["content"] for choice in body["choices"]]

    first = await choices()
    assert len(set(first)) == 4
    assert await choices() == first


async def test_without_a_seed_each_answer_is_drawn_anew(started: Started, kind: str) -> None:
    engine = await started(kind)
    replies = await all_answers(engine, [a_chat(temperature=5.0, max_tokens=12) for _ in range(4)])
    assert len({text(reply) for reply in replies}) == 4


async def test_an_answer_ends_before_a_stop_and_at_the_limit(started: Started, kind: str) -> None:
    engine = await started(kind)
    question = "What is the capital of Peru?"
    stopped = told(await engine.infer(a_chat(question, stop=["m"])))["choices"][0]
    cut = told(await engine.infer(a_chat(question, max_tokens=1)))["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("Li", "stop")
    assert cut["finish_reason"] == "length"
    assert "Lima".startswith(cut["message"]["content"])


async def test_without_a_limit_an_answer_may_fill_the_context(started: Started, kind: str) -> None:
    options = {"context_tokens_per_slot": 256} if kind == "llamacpp" else {"context_tokens": 256}
    engine = await started(kind, **options)
    body = told(await engine.infer(a_chat(max_tokens=None, ignore_eos=True)))
    assert body["choices"][0]["finish_reason"] == "length"
    assert 250 <= body["usage"]["total_tokens"] <= 256


BAD_BODIES: dict[str, dict[str, Any]] = {
    "messages": {"messages": []},
    "messages[0]": {"messages": ["hello"]},
    "messages[0].content": {"messages": [{"role": "user", "content": 5}]},
    "max_tokens": {"max_tokens": 0},
    "max_completion_tokens": {"max_completion_tokens": "many"},
    "n": {"n": 0},
    "seed": {"seed": "lucky"},
    "response_format.type": {"response_format": {"type": "xml"}},
    "top_logprobs": {"top_logprobs": 50, "logprobs": True},
    "guided_regex": {"guided_regex": "a+"},
}


async def test_a_bad_parameter_is_named(started: Started, kind: str) -> None:
    engine = await started(kind)
    replies = await all_answers(engine, [a_chat(**body) for body in BAD_BODIES.values()])
    assert [refused(reply)["param"] for reply in replies] == list(BAD_BODIES)


async def test_a_prompt_that_does_not_fit_is_refused(started: Started, kind: str) -> None:
    engine = await started(kind)
    error = refused(await engine.infer(a_chat("too long " * 2000)))
    assert error["code"] == "context_length_exceeded"


async def test_an_image_is_refused_by_a_model_without_eyes(started: Started, kind: str) -> None:
    engine = await started(kind)
    parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    error = refused(await engine.infer(a_request(CHAT, messages=[{"role": "user", "content": parts}])))
    assert error["code"] == "images_unsupported"
    assert error["param"] == "messages[0].content[1]"


async def test_text_parts_are_read_as_one_text(started: Started, kind: str) -> None:
    engine = await started(kind)
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "30 + 40?"}]
    reply = await engine.infer(a_request(CHAT, messages=[{"role": "user", "content": parts}], temperature=0))
    assert text(reply) == "70"


async def test_a_worker_killed_in_the_middle_comes_back(started: Started, kind: str) -> None:
    engine = await started(kind)
    long: dict[str, Any] = {"max_tokens": 900, "ignore_eos": True}
    async with asyncio.TaskGroup() as group:
        on_board = [group.create_task(engine.infer(a_chat(line=line, **long))) for line in range(4)]
        await engine.infer(a_chat())  # has passed through the worker, behind the others
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    for task in on_board:
        reply = task.result()
        assert isinstance(reply, Failure)
        assert reply.fault == Fault.CRASHED
        assert "SIGKILL" in reply.message
    assert text(await engine.infer(a_chat())) == "7"
    assert engine.restarts == 1
    assert engine.pid != pid


async def test_a_cancelled_request_makes_room_at_once(started: Started, kind: str) -> None:
    engine = await started(kind, slots=1)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        # The first would hold the only slot for hours of others' requests.
        endless = group.create_task(engine.infer(a_chat(max_tokens=900, ignore_eos=True, n=100)))
        waiting = group.create_task(engine.infer(a_chat()))
        await asyncio.sleep(0)
        endless.cancel()
    assert text(waiting.result()) == "7"


async def test_a_model_that_is_not_there_is_not_found(kind: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        await ENGINES[kind](tmp_path / "none.gguf").start()
    assert caught.value.remedy


@pytest.mark.parametrize("length", [0, 100, 100_000])
async def test_a_damaged_model_cannot_start(kind: str, tmp_path: Path, length: int) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(demo.model_path().read_bytes()[:length])
    engine = ENGINES[kind](damaged)
    with pytest.raises(Unavailable) as caught:
        await engine.start()
    assert caught.value.remedy
    await engine.close()


async def test_abilities_tell_what_was_chosen(kind: str) -> None:
    engine = ENGINES[kind](slots=3, names=frozenset({"a", "b"}))
    abilities = await engine.start()
    await engine.close()
    assert abilities.slots == 3
    assert abilities.models == {"a", "b"}
    assert abilities.context_tokens == 1024
    assert abilities.endpoints == {CHAT, "/v1/completions"}
    assert not abilities.sees_images
    assert "demo-q8_0.gguf" in abilities.description
