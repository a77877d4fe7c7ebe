"""What only the llamacpp engine does: vectors, rankings, images, tools, alternatives."""

import base64
import io
import math
import os
import socket
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from batchyard import demo
from batchyard.domain.result import Reply
from tests.support import models
from tests.support.embedded import CHAT, a_chat, a_request, open_llamacpp, refused, text, told
from tests.unit.engines.conftest import Started

EMBEDDINGS = "/v1/embeddings"
SCORE = "/v1/score"
RERANK = "/v1/rerank"

CAT, KITTEN, SHARES = "The cat sleeps on the sofa.", "A kitten naps on the couch.", "Share prices fell on Monday."


def vectors(reply: Reply) -> list[list[float]]:
    return [one["embedding"] for one in told(reply)["data"]]


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_an_embedding_model_embeds_and_compares_but_does_not_write(minilm: Path) -> None:
    engine = open_llamacpp(minilm)
    abilities = await engine.start()
    assert abilities.endpoints == {EMBEDDINGS, SCORE, RERANK}
    assert refused(await engine.infer(a_chat()))["code"] == "unsupported_endpoint"
    await engine.close()


async def test_related_sentences_lie_closer_and_vectors_have_length_one(started: Started, minilm: Path) -> None:
    engine = await started("llamacpp", model=minilm)
    reply = await engine.infer(a_request(EMBEDDINGS, input=[CAT, KITTEN, SHARES]))
    cat, kitten, shares = vectors(reply)
    assert len(cat) == 384
    assert all(math.isclose(cosine(v, v), 1, abs_tol=1e-4) for v in (cat, kitten, shares))
    assert cosine(cat, kitten) > 0.5 > 0.2 > cosine(cat, shares)
    assert told(reply)["usage"]["prompt_tokens"] > 20


async def test_base64_and_token_ids_are_the_same_vectors(started: Started, minilm: Path) -> None:
    engine = await started("llamacpp", model=minilm)
    (plain,) = vectors(await engine.infer(a_request(EMBEDDINGS, input="hello")))
    (ids,) = vectors(await engine.infer(a_request(EMBEDDINGS, input=[101, 7592, 102])))
    packed = told(await engine.infer(a_request(EMBEDDINGS, input="hello", encoding_format="base64")))
    unpacked = struct.unpack("<384f", base64.b64decode(packed["data"][0]["embedding"]))
    assert cosine(plain, list(unpacked)) == pytest.approx(1, abs=1e-4)
    assert cosine(plain, ids) == pytest.approx(1, abs=1e-4)


async def test_a_bad_embedding_request_is_refused(started: Started, minilm: Path) -> None:
    engine = await started("llamacpp", model=minilm)
    bad: dict[str, dict[str, Any]] = {
        "input": {"input": []},
        "input[1]": {"input": ["x", 5]},
        "dimensions": {"input": "x", "dimensions": 100},
        "encoding_format": {"input": "x", "encoding_format": "hex"},
    }
    for param, body in bad.items():
        assert refused(await engine.infer(a_request(EMBEDDINGS, **body)))["param"] == param


async def test_a_text_too_long_to_embed_is_the_line_s_own_fault(started: Started, minilm: Path) -> None:
    engine = await started("llamacpp", model=minilm)
    error = refused(await engine.infer(a_request(EMBEDDINGS, input="word " * 2000)))
    assert error["code"] == "context_length_exceeded"


async def test_scores_are_cosines_of_embeddings(started: Started, minilm: Path) -> None:
    engine = await started("llamacpp", model=minilm)
    body = told(await engine.infer(a_request(SCORE, text_1=CAT, text_2=[CAT, KITTEN, SHARES])))
    scores = [one["score"] for one in body["data"]]
    assert scores[0] == pytest.approx(1, abs=1e-3)
    assert scores == sorted(scores, reverse=True)
    assert [one["index"] for one in body["data"]] == [0, 1, 2]
    pairs = told(await engine.infer(a_request(SCORE, text_1=[CAT, SHARES], text_2=[SHARES, SHARES])))
    assert [one["score"] for one in pairs["data"]] == pytest.approx([scores[2], 1], abs=1e-3)


async def test_documents_are_ranked_best_first(started: Started, minilm: Path) -> None:
    engine = await started("llamacpp", model=minilm)
    documents = [SHARES, {"text": CAT}, KITTEN]
    body = told(await engine.infer(a_request(RERANK, query="A cat that sleeps on a sofa", documents=documents)))
    assert [one["index"] for one in body["results"]] == [1, 2, 0]
    assert body["results"][0]["document"] == {"text": CAT}
    two = told(await engine.infer(a_request(RERANK, query="A cat that sleeps on a sofa", documents=documents, top_n=2)))
    assert two["results"] == body["results"][:2]


async def test_a_reranker_scores_pairs_by_its_own_head(reranker: Path) -> None:
    engine = open_llamacpp(reranker)
    abilities = await engine.start()
    assert abilities.endpoints == {SCORE, RERANK}
    ranked = told(await engine.infer(a_request(RERANK, query="x", documents=["a", "bb cc", "a"])))["results"]
    scored = told(await engine.infer(a_request(SCORE, text_1="x", text_2=["a", "bb cc", "a"])))["data"]
    await engine.close()
    by_index = {one["index"]: one["relevance_score"] for one in ranked}
    assert [one["score"] for one in scored] == pytest.approx([by_index[i] for i in range(3)], abs=1e-3)
    assert all(0 <= score <= 1 for score in by_index.values())
    assert by_index[0] != pytest.approx(by_index[1], abs=1e-3)


def picture_of(*colour: int) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(models.png(*colour)).decode()
    parts = [{"type": "text", "text": "What is"}, {"type": "image_url", "image_url": {"url": url}}]
    return {
        "messages": [{"role": "user", "content": parts}],
        "temperature": 0,
        "max_tokens": 12,
        "logprobs": True,
        "top_logprobs": 1,
    }


async def test_an_image_reaches_the_model(started: Started, eyes: Path) -> None:
    """The tower is random, so what it sees means nothing; but the answer's odds must depend on the picture."""
    engine = await started("llamacpp", mmproj_path=str(eyes))
    seen: dict[str, float] = {}
    for name, colour in {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}.items():
        odds: set[float] = set()
        for _ in range(2):
            body = told(await engine.infer(a_request(CHAT, **picture_of(*colour))))
            assert body["usage"]["prompt_tokens"] > 30
            content = body["choices"][0]["logprobs"]["content"]
            odds.add(round(content[0]["logprob"], 2) if content else 0.0)
        seen[name] = odds.pop()
    assert len(set(seen.values())) == 3


async def test_a_picture_is_seen_alike_in_every_type(started: Started, eyes: Path) -> None:
    """Of llama.cpp's own accord it reads no WebP."""
    engine = await started("llamacpp", mmproj_path=str(eyes))
    red = Image.new("RGB", (64, 64), (255, 0, 0))
    seen: dict[str, float] = {}
    for kind, options in {"PNG": {}, "GIF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.items():
        file = io.BytesIO()
        red.save(file, kind, **options)
        url = f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
        asked = picture_of(255, 0, 0)
        asked["messages"][0]["content"][1]["image_url"]["url"] = url
        content = told(await engine.infer(a_request(CHAT, **asked)))["choices"][0]["logprobs"]["content"]
        seen[kind] = content[0]["logprob"]
    assert seen == pytest.approx(dict.fromkeys(seen, seen["PNG"]), abs=0.05)
    broken = [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,UklGRgAAAABXRUJQ"}}]
    error = refused(await engine.infer(a_request(CHAT, messages=[{"role": "user", "content": broken}])))
    assert error["code"] == "image_parse_error" and error["param"] == "messages[0].content[0].image_url"


async def test_only_pictures_inside_the_request_are_looked_at(started: Started, eyes: Path) -> None:
    engine = await started("llamacpp", mmproj_path=str(eyes))
    for url in ("http://127.0.0.1:1/x.png", "file:///etc/hostname"):
        parts = [{"type": "image_url", "image_url": {"url": url}}]
        error = refused(await engine.infer(a_request(CHAT, messages=[{"role": "user", "content": parts}])))
        assert error["code"] == "invalid_image_url"
    broken = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    refused(await engine.infer(a_request(CHAT, messages=[{"role": "user", "content": broken}])))
    assert (await engine.start()).sees_images


TOOL = {
    "type": "function",
    "function": {
        "name": "Zoe",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}},
            "required": ["city"],
        },
    },
}


async def test_a_tool_call_has_openai_s_shape(started: Started, tmp_path: Path) -> None:
    """The demo model never learned tools, but it begins as a call of Zoe begins; from there the grammar leads it."""
    model = models.with_chat_template(demo.model_path(), tmp_path / "tools.gguf", models.TOOL_TEMPLATE)
    engine = await started("llamacpp", model=model)
    question = "Extract name and city as JSON: Zoe lives in Oslo."
    reply = await engine.infer(a_chat(question, tools=[TOOL], tool_choice="required", max_tokens=100))
    choice = told(reply)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "Zoe")
    assert call["id"]
    assert set(msgspec.json.decode(call["function"]["arguments"])) == {"city"}


async def test_tools_are_accepted_but_a_call_cannot_be_forced_without_a_template_for_it(started: Started) -> None:
    engine = await started("llamacpp")
    assert text(await engine.infer(a_chat(tools=[TOOL]))) == "7"
    assert refused(await engine.infer(a_chat(tools=[TOOL], tool_choice="required")))["code"] == "tools_unsupported"


async def test_alternatives_are_told_as_many_as_asked(started: Started) -> None:
    engine = await started("llamacpp")
    content = told(await engine.infer(a_chat(logprobs=True, top_logprobs=3)))["choices"][0]["logprobs"]["content"]
    (entry,) = content
    alternatives = [one["token"] for one in entry["top_logprobs"]]
    assert alternatives.index("7") == 0
    assert len(alternatives) == 3
    prompt = "<|im_start|>user\nAdd 2 and 5.<|im_end|>\n<|im_start|>assistant\n"
    body = a_request("/v1/completions", prompt=prompt, temperature=0, logprobs=2, max_tokens=8, echo=False)
    legacy = told(await engine.infer(body))["choices"][0]["logprobs"]
    assert len(legacy["top_logprobs"][0]) == 2


async def test_an_echo_begins_with_the_prompt(started: Started) -> None:
    engine = await started("llamacpp")
    prompt = "<|im_start|>user\nAdd 2 and 5.<|im_end|>\n<|im_start|>assistant\n"
    assert (
        text(await engine.infer(a_request("/v1/completions", prompt=prompt, temperature=0, echo=True))) == f"{prompt}7"
    )


async def test_nobody_else_can_reach_the_worker(started: Started) -> None:
    """llama.cpp's server insists on listening; it must not do so on any port."""
    engine = await started("llamacpp")
    assert engine.pid is not None
    assert not listening_ports(engine.pid)


def listening_ports(pid: int) -> set[str]:
    """Internet sockets of a process, by inode (proc(5))."""
    ours = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    entries = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return ours & {f"socket:[{words[9]}]" for words in entries}


def test_a_listening_port_would_be_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert listening_ports(os.getpid())
