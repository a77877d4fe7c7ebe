"""What the embedded engines say while they write is what they would have said at once."""

import asyncio
from typing import Any

import msgspec
import pytest

from batchyard.domain.request import Request
from batchyard.domain.result import Answer
from batchyard.engine import stream
from batchyard.workers.engine import WorkerEngine
from tests.support.embedded import CHAT, ENGINES, a_chat, a_request, refused, told
from tests.support.streams import choices_of, hear, whys, words
from tests.unit.engines.conftest import Started

COMPLETIONS = "/v1/completions"
LONG: dict[str, Any] = {"max_tokens": 60, "ignore_eos": True}
WARM: dict[str, Any] = {**LONG, "temperature": 1.2, "seed": 7}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

ASKED: dict[str, Request] = {
    "greedy": a_chat(),
    "drawn": a_chat("Tell me of Paris.", **WARM),
    "cut by a stop": a_chat("What is the capital of France?", stop=["ar"]),
    "several choices": a_chat(n=3, **WARM),
    "with log probabilities": a_chat(logprobs=True),
    "a completion": a_request(COMPLETIONS, prompt="What is 3 + 4?", temperature=0, **LONG),
    "two completions with log probabilities": a_request(
        COMPLETIONS, prompt=["What is", "The capital of"], temperature=0, logprobs=0, **LONG
    ),
    "one token": a_chat(max_tokens=1),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kind", ENGINES)
async def test_a_stream_adds_up_to_the_answer(kind: str, asked: str, started: Started) -> None:
    engine = await started(kind, slots=1)
    whole = told(await engine.infer(ASKED[asked]))
    pieces, reply = await hear(engine, ASKED[asked])
    for choice in whole["choices"]:
        message, place = choice.get("message"), choice["index"]
        assert words(pieces, place) == (choice["text"] if message is None else message["content"])
        assert whys(pieces, place)[-1] == choice["finish_reason"] and set(whys(pieces, place)[:-1]) == {None}
        assert _logprobs(choices_of(pieces, place)) == pytest.approx(_logprobs([choice]), abs=0.2)
    *chunks, last = pieces
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], whole["usage"]["completion_tokens"])
    assert len({chunk["id"] for chunk in pieces}) == 1 and all("usage" not in chunk for chunk in chunks)
    assert isinstance(reply, Answer) and (reply.status, reply.body) == (200, b"")
    assert reply.usage.output_tokens == whole["usage"]["completion_tokens"]


def _logprobs(choices: list[dict[str, Any]]) -> list[float]:
    """Those of all chunks, in either form."""
    found: list[float] = []
    for part in filter(None, (choice["logprobs"] for choice in choices)):
        found += part["token_logprobs"] if "token_logprobs" in part else [one["logprob"] for one in part["content"]]
    return found


@pytest.mark.parametrize("kind", ENGINES)
async def test_the_first_piece_comes_before_the_last_is_made(kind: str, started: Started) -> None:
    engine = await started(kind, slots=1)
    pieces, _ = await hear(engine, a_chat("Tell me of Paris.", **{**WARM, "max_tokens": 400}))
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    assert 3 < len(pieces) < 400, "not one piece, and not one for each token"


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_refusal_comes_whole(kind: str, started: Started) -> None:
    engine = await started(kind, slots=1)
    pieces, reply = await hear(engine, a_chat(max_tokens=-1))
    assert pieces == [] and refused(reply)["param"] == "max_tokens"
    assert told((await hear(engine, a_request("/v1/embeddings", input="x")))[1], 400)["error"]["code"]


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_caller_who_hangs_up_frees_the_slot(kind: str, started: Started) -> None:
    engine = await started(kind, slots=1)
    endless = a_chat("Tell me of Paris.", max_tokens=400, ignore_eos=True, n=100)
    for _ in range(3):
        await _hang_up_after_a_piece(engine, endless)
        assert words((await hear(engine, a_chat()))[0]) == "7"


async def _hang_up_after_a_piece(engine: WorkerEngine, request: Request) -> None:
    heard = asyncio.Event()

    async def say(piece: bytes) -> None:
        heard.set()

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(stream(engine, request, say))
        await heard.wait()
        asking.cancel()
    assert asking.cancelled()


async def test_calls_of_tools_are_told_in_pieces(started: Started) -> None:
    engine = await started("llamacpp", slots=1)
    request = a_chat("What is 3 + 4?", tools=[TOOL], tool_choice="auto", seed=1)
    whole = told(await engine.infer(request))["choices"][0]["message"]
    pieces, _ = await hear(engine, request)
    assert words(pieces) == (whole["content"] or "")


async def test_the_echo_of_a_prompt_is_told_first(started: Started) -> None:
    engine = await started("llamacpp", slots=1)
    request = a_request(COMPLETIONS, prompt="What is 3 + 4?", echo=True, temperature=0, max_tokens=5)
    whole = told(await engine.infer(request))["choices"][0]["text"]
    assert words((await hear(engine, request))[0]) == whole and whole.startswith("What is 3 + 4?")


async def test_a_stream_for_which_only_llama_cpp_will_do_comes_from_there(started: Started) -> None:
    from batchyard.engines.embedded import EmbeddedEngine

    engine = EmbeddedEngine(ENGINES["openvino"](slots=1), ENGINES["llamacpp"](slots=1))
    await engine.start()
    body = msgspec.json.decode(a_chat().body)
    asked = Request(0, "x", CHAT, "demo", msgspec.json.encode(body | {"logprobs": True, "top_logprobs": 2}))
    pieces, reply = await hear(engine, asked)
    assert words(pieces) == "7" and isinstance(reply, Answer) and reply.ok
    assert words((await hear(engine, a_chat()))[0]) == "7"
    await engine.close()
