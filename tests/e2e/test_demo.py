"""The demo model gives right answers, through both embedded engines and the whole command."""

import json
from pathlib import Path

import pytest

from batchyard import demo
from tests.support.cli import Cli

TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>'+m['role']+'\n'+m['content']+'<|im_end|>\n'}}{% endfor %}"
    "{{'<|im_start|>assistant\n'}}"
)
"""What the model was trained on."""


def texts(output: Path) -> dict[str, str]:
    """The answers by custom_id."""
    found: dict[str, str] = {}
    for line in output.read_text().splitlines():
        result = json.loads(line)
        choice = result["response"]["body"]["choices"][0]
        found[result["custom_id"]] = (choice.get("text") or choice["message"]["content"]).strip()
    return found


def right(output: Path) -> int:
    wanted, found = demo.answers(), texts(output)
    assert found.keys() == wanted.keys()
    return sum(_same(found[custom_id], answer) for custom_id, answer in wanted.items())


def _same(found: str, wanted: str) -> bool:
    return json.loads(found) == json.loads(wanted) if wanted.startswith("{") else found == wanted


@pytest.mark.parametrize("engine", ["auto", "llamacpp", "openvino"])
def test_every_answer_is_right(cli: Cli, engine: str) -> None:
    done = cli.run("run-batch", "-i", str(demo.requests()), "-o", "out.jsonl", "--model", "demo", "--engine", engine)
    assert done.code == 0, done.stderr
    assert right(cli.path("out.jsonl")) == len(demo.answers()) == 500


def test_a_template_of_the_users_own_is_used(cli: Cli) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"messages": question, "temperature": 0, "max_tokens": 8}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    cli.path("in.jsonl").write_text(json.dumps(line))
    cli.path("right.jinja").write_text(TEMPLATE)
    words = ("run-batch", "-i", "in.jsonl", "--model", "demo", "--chat-template")
    assert cli.run(*words, "right.jinja", "-o", "right.jsonl").code == 0
    assert cli.run(*words, "{{ 'What is 2 + 3?' }}", "-o", "other.jsonl").code == 0
    assert texts(cli.path("right.jsonl")) == {"a": "Paris"}
    assert texts(cli.path("other.jsonl")) != {"a": "Paris"}
