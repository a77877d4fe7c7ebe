"""Pictures through the whole runner: a real model that sees, and a web server on this machine."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from openai import BadRequestError

from tests.support import models
from tests.support.batches import create, ended, lines_of
from tests.support.batches import serving as answering
from tests.support.cli import Cli
from tests.support.pictures import BLUE, RED, data_url
from tests.support.web_server import Exchange, serving


def gallery(exchange: Exchange) -> None:
    found = {"/red.png": RED, "/blue.png": BLUE}.get(exchange.seen.path)
    exchange.reply(404 if found is None else 200, found or b"")


def a_line(id: str, url: str) -> str:
    content = [{"type": "text", "text": "Name"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 8}
    return json.dumps({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body})


def run(cli: Cli, lines: dict[str, str], *words: str) -> dict[str, Any]:
    """What became of each line."""
    cli.path("in.jsonl").write_text("\n".join(a_line(*line) for line in lines.items()))
    done = cli.run("run-batch", "-i", "in.jsonl", "-o", "out.jsonl", "--fresh", *words)
    assert "internal" not in done.stderr, done.stderr
    results = [json.loads(line) for line in cli.path("out.jsonl").read_text().splitlines()]
    assert sorted(result["custom_id"] for result in results) == sorted(lines)
    return {result["custom_id"]: result["response"] for result in results}


def said(response: dict[str, Any]) -> str:
    return response["body"]["choices"][0]["message"]["content"]


def test_a_run_shows_pictures_and_says_of_each_that_it_cannot_show_why(cli: Cli, tmp_path: Path) -> None:
    eyes = str(models.eyes(tmp_path / "eyes.gguf", width=256))
    model = ("--model", "demo", "--mmproj", eyes)
    with serving(gallery) as web:
        lines = {
            "red": f"{web.url}red.png",
            "blue": f"{web.url}blue.png",
            "data": data_url(RED, "image/webp"),
            "again": f"{web.url}red.png",
            "gone": f"{web.url}gone.png",
        }
        found = run(cli, lines, *model, "--image-allow-private", "127.0.0.0/8")
        assert said(found["red"]) == said(found["data"]) == said(found["again"]) != said(found["blue"])
        assert found["gone"]["body"]["error"]["code"] == "failed_to_download_image"
        assert sorted(seen.path for seen in web.seen) == ["/blue.png", "/gone.png", "/red.png"]
        for words in ((), ("--image-allow-private", "127.0.0.1", "--allowed-media-domains", "a.example", "b.example")):
            found = run(cli, lines, *model, *words)
            assert said(found["data"]) and found["red"]["status_code"] == 400
            assert found["red"]["body"]["error"]["code"] == "invalid_image_url"
        assert len(web.seen) == 3


CONFIG = """
[server]
port = 0

[models.seeing]
model = "demo"
mmproj = "eyes.gguf"

[models.closed]
engine = "echo"
images = "refuse"

[images]
allow_private = ["127.0.0.1"]
"""


def test_a_server_shows_pictures_to_the_models_that_its_file_says(cli: Cli) -> None:
    models.eyes(cli.path("eyes.gguf"), width=256)
    cli.path("batchyard.toml").write_text(CONFIG)
    with serving(gallery) as web, answering(cli, "--config", "batchyard.toml") as (run, client):
        run.wait_for("Ready: seeing")
        run.wait_for("Ready: closed")

        def ask(model: str, url: str) -> str | None:
            asked: Any = json.loads(a_line("a", url))["body"]
            return cast("Any", client).chat.completions.create(model=model, **asked).choices[0].message.content

        red = ask("seeing", data_url(RED))
        assert ask("seeing", f"{web.url}red.png") == red != ask("seeing", data_url(BLUE))
        with pytest.raises(BadRequestError, match="not fetched here"):
            ask("closed", f"{web.url}red.png")
        file = client.files.create(file=("red.png", RED), purpose="vision")
        by_url, by_file = (json.loads(a_line(id, f"{web.url}red.png")) for id in ("url", "file"))
        by_file["body"]["messages"][0]["content"][1] = {"type": "file", "file": {"file_id": file.id}}
        for line in (by_url, by_file):
            line["body"]["model"] = "seeing"
        batch = ended(client, create(client, json.dumps(by_url).encode() + b"\n" + json.dumps(by_file).encode()).id)
        assert [said(line["response"]) for line in lines_of(client, batch.output_file_id)] == [red, red]
