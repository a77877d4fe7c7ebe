"""Every endpoint, in one file where the model allows, through the whole command on real models."""

import base64
import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from batchyard import demo
from tests.support import models
from tests.support.cli import Cli
from tests.support.made_pictures import decoded

SENTENCE = "Extract name and city as JSON: Zoe lives in Oslo."
CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
    "required": ["name", "city"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def a_line(custom_id: str, url: str, **body: Any) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def asking(text: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 32, **more}


def answered(cli: Cli, lines: list[str], *words: str, code: int = 0) -> dict[str, Any]:
    """What became of each line: the response of each custom_id."""
    cli.path("in.jsonl").write_text("\n".join(lines))
    done = cli.run("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", *words)
    assert done.code == code, done.stderr
    results = [json.loads(line) for line in cli.path("out.jsonl").read_text().splitlines()]
    return {result["custom_id"]: result["response"] for result in results}


def test_a_language_model_answers_chats_completions_and_responses_with_their_options(cli: Cli) -> None:
    chat, capital = "/v1/chat/completions", "What is the capital of Norway?"
    schema = {"type": "json_schema", "json_schema": {"name": "where", "strict": True, "schema": CITY}}
    prompt = f"<|im_start|>user\n{capital}<|im_end|>\n<|im_start|>assistant\n"
    found = answered(
        cli,
        [
            a_line("chat", chat, **asking(capital)),
            a_line("alias", "/chat/completions", **asking(capital)),
            a_line(
                "schema", chat, **asking("Extract name and city as JSON: Zoe lives in Oslo.", response_format=schema)
            ),
            a_line("logprobs", chat, **asking(capital, logprobs=True, top_logprobs=2)),
            a_line("two", chat, **asking(capital, n=2, seed=7)),
            a_line("stop", chat, **asking(capital, stop=["s"])),
            a_line("tools", chat, **asking(capital, tools=[TOOL], tool_choice="none")),
            a_line("completion", "/v1/completions", prompt=prompt, temperature=0, max_tokens=8),
            a_line("response", "/v1/responses", input=capital, temperature=0, max_output_tokens=16),
        ],
        "--model",
        "demo",
    )
    bodies = {custom_id: response["body"] for custom_id, response in found.items()}
    assert {response["status_code"] for response in found.values()} == {200}
    for name in ("chat", "alias", "logprobs", "two", "tools"):
        assert [choice["message"]["content"].strip() for choice in bodies[name]["choices"]] == ["Oslo"] * (
            2 if name == "two" else 1
        )
    assert json.loads(bodies["schema"]["choices"][0]["message"]["content"]) == {"name": "Zoe", "city": "Oslo"}
    assert len(bodies["logprobs"]["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2
    assert bodies["stop"]["choices"][0]["message"]["content"].strip() == "O"
    assert bodies["completion"]["choices"][0]["text"].strip() == "Oslo"
    assert bodies["response"]["output"][0]["content"][0]["text"].strip() == "Oslo"


def test_an_embedding_model_embeds_scores_and_ranks(cli: Cli, minilm: Path) -> None:
    cat, kitten, shares = "The cat sleeps on the sofa.", "A kitten naps on the couch.", "Share prices fell on Monday."
    found = answered(
        cli,
        [
            a_line("cat", "/v1/embeddings", input=cat),
            a_line("both", "/v1/embeddings", input=[kitten, shares]),
            a_line("score", "/v1/score", text_1=cat, text_2=[kitten, shares]),
            a_line("rerank", "/v2/rerank", query=cat, documents=[shares, kitten]),
            a_line("chat", "/v1/chat/completions", **asking("Hello?")),
        ],
        "--model",
        str(minilm),
        code=3,
    )
    vector = found["cat"]["body"]["data"][0]["embedding"]
    assert math.isclose(sum(x * x for x in vector), 1, abs_tol=1e-3)
    near, far = (
        sum(a * b for a, b in zip(vector, each["embedding"], strict=True)) for each in found["both"]["body"]["data"]
    )
    assert near > 0.5 > 0.2 > far
    assert [round(each["score"], 2) for each in found["score"]["body"]["data"]] == [round(near, 2), round(far, 2)]
    assert [each["index"] for each in found["rerank"]["body"]["results"]] == [1, 0]
    assert found["chat"]["status_code"] == 400


def test_an_image_part_reaches_a_model_that_sees(cli: Cli) -> None:
    shutil.copy(demo.model_path(), cli.path("seeing.gguf"))
    models.eyes(cli.path("mmproj-seeing.gguf"), 256)

    def looking(colour: tuple[int, int, int]) -> dict[str, Any]:
        url = "data:image/png;base64," + base64.b64encode(models.png(*colour)).decode()
        parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is 2 + 3?"}]
        return asking(parts, logprobs=True)

    chat = "/v1/chat/completions"
    colours = [(255, 0, 0), (0, 0, 255), (255, 0, 0)]
    lines = [a_line(str(number), chat, **looking(colour)) for number, colour in enumerate(colours)]
    found = answered(cli, lines, "--model", "seeing.gguf", "--no-dedupe")
    first, other, again = (found[str(number)]["body"]["choices"][0] for number in range(3))
    assert first["logprobs"] == again["logprobs"] != other["logprobs"]
    blind = answered(cli, lines, "--model", "demo", "--fresh", code=3)
    assert {response["status_code"] for response in blind.values()} == {400}


def test_a_folder_of_a_pipeline_makes_pictures(cli: Cli, painter: Path) -> None:
    pictures = "/v1/images/generations"
    found = answered(
        cli,
        [
            a_line("square", pictures, prompt="a red boat", size="64x64", seed=1, num_inference_steps=2),
            a_line("wide", "/images/generations", prompt="a red boat", size="128x64", num_inference_steps=2),
            a_line("again", pictures, prompt="a red boat", size="64x64", seed=1, num_inference_steps=2),
            a_line("two", pictures, prompt="a red boat", n=2),
            a_line("odd", pictures, prompt="a red boat", size="60x60"),
            a_line("chat", "/v1/chat/completions", **asking("Hello?")),
        ],
        "--model",
        str(painter),
        code=3,
    )
    sizes = {
        name: [decoded(each).size for each in found[name]["body"]["data"]]
        for name in ("square", "wide", "again", "two")
    }
    assert sizes == {"square": [(64, 64)], "wide": [(128, 64)], "again": [(64, 64)], "two": [(64, 64)] * 2}
    assert found["square"]["body"]["data"] == found["again"]["body"]["data"]
    assert found["odd"]["body"]["error"]["param"] == "size"
    assert (found["odd"]["status_code"], found["chat"]["status_code"]) == (400, 400)


def test_a_worker_that_is_killed_while_it_makes_a_picture_costs_time_and_no_line(cli: Cli, painter: Path) -> None:
    body = {"prompt": "a boat", "size": "512x512", "num_inference_steps": 100}
    lines = [a_line(str(number), "/v1/images/generations", **body, seed=number) for number in range(12)]
    cli.path("in.jsonl").write_text("\n".join(lines))
    journal = cli.path("out.jsonl.batchyard/journal/000001.jsonl")
    words = ("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", "--model", str(painter), "--retries", "0")
    with cli.start(*words, "--progress", "plain") as run:
        run.wait_for("running")
        while not (journal.exists() and journal.stat().st_size):
            assert psutil.pid_exists(run.pid)
        os.kill(the_worker_of(run.pid), signal.SIGKILL)
        assert run.finish().code == 0
    results = [json.loads(line) for line in cli.path("out.jsonl").read_text().splitlines()]
    assert [result["custom_id"] for result in results] == [str(number) for number in range(12)]
    assert len({result["response"]["body"]["data"][0]["b64_json"] for result in results}) == 12


def the_worker_of(pid: int) -> int:
    children = psutil.Process(pid).children()
    return next(child.pid for child in children if "batchyard.workers" in " ".join(child.cmdline()))


@pytest.mark.parametrize("engine", ["llamacpp", "openvino"])
def test_a_worker_that_is_killed_is_replaced_and_every_line_is_answered(cli: Cli, engine: str) -> None:
    lines = demo.requests().read_text().splitlines()
    cli.path("in.jsonl").write_text("\n".join(lines))
    words = ("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", "--model", "demo", "--engine", engine, "--retries", "0")
    words += ("--summary", "summary.json")
    journal = cli.path("out.jsonl.batchyard/journal/000001.jsonl")
    with cli.start(*words, "--progress", "plain") as run:
        run.wait_for("running")
        while not (journal.exists() and journal.stat().st_size):
            assert psutil.pid_exists(run.pid)
        workers = [
            child for child in psutil.Process(run.pid).children() if "batchyard.workers" in " ".join(child.cmdline())
        ]
        os.kill(workers[0].pid, signal.SIGKILL)
        done = run.finish()
    assert done.code == 0, done.stderr
    assert json.loads(cli.path("summary.json").read_text())["engine_restarts"] == 1
    results = [json.loads(line) for line in cli.path("out.jsonl").read_text().splitlines()]
    assert [result["custom_id"] for result in results] == [json.loads(line)["custom_id"] for line in lines]
