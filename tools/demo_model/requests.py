"""The batch file in the package: 500 lines of held-out questions of all kinds, and their answers.

    python -m tools.demo_model.requests FOLDER

writes `requests.jsonl` and `answers.json`. Lines differ as a user's do: with and without a system prompt, with a JSON
schema, with `stop`, `seed`, `logprobs` or several choices, asked as a chat or as a text to complete.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from tools.demo_model.corpus import QUESTIONS, SYSTEM_PROMPTS, Example, draw

PER_KIND = 100
SEED = 20

Line = dict[str, Any]

PERSON_SCHEMA: Line = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
    "required": ["name", "city"],
    "additionalProperties": False,
}


def batch(seed: int = SEED) -> tuple[list[Line], dict[str, str]]:
    """The lines in their order, and the right answers by custom_id. The same seed gives the same batch."""
    source = random.Random(seed)
    lines: list[Line] = []
    answers: dict[str, str] = {}
    drawn = {kind: _distinct(source, kind) for kind in QUESTIONS}
    for place in range(PER_KIND):
        for kind, examples in drawn.items():
            custom_id = f"{kind}-{place + 1:03}"
            lines.append(_line(custom_id, examples[place], place))
            answers[custom_id] = examples[place].answer
    return lines, answers


def _distinct(source: random.Random, kind: str) -> list[Example]:
    found: dict[str, Example] = {}
    while len(found) < PER_KIND:
        example = draw(source, kind, held_out=True)
        found[example.question] = example
    return list(found.values())


def _line(custom_id: str, example: Example, place: int) -> Line:
    body: Line = {"max_tokens": 32, "temperature": 0}
    if place % 10 == 9:
        return _text_line(custom_id, example, body)
    body = {"messages": _messages(example, place), **body}
    if example.kind == "person" and place % 2 == 0:
        schema = {"name": "person", "strict": True, "schema": PERSON_SCHEMA}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if place % 10 == 3:
        body["seed"] = place
    if place % 10 == 5:
        body["stop"] = ["\n"]
    if place % 10 == 7:
        body["logprobs"] = True
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def _messages(example: Example, place: int) -> list[Line]:
    asked = {"role": "user", "content": example.question}
    if place % 4 == 1:
        return [{"role": "system", "content": SYSTEM_PROMPTS[place // 4 % len(SYSTEM_PROMPTS)]}, asked]
    return [asked]


def _text_line(custom_id: str, example: Example, body: Line) -> Line:
    prompt = f"<|im_start|>user\n{example.question}<|im_end|>\n<|im_start|>assistant\n"
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/completions",
        "body": {"prompt": prompt, **body},
    }


def write(folder: Path) -> None:
    lines, answers = batch()
    (folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "answers.json").write_text(json.dumps(answers, indent=0) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
