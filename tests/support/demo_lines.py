"""Requests of the demo model's closed domain, each with its one right answer."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

_CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Austria": "Vienna",
    "Norway": "Oslo",
    "Finland": "Helsinki",
    "Hungary": "Budapest",
    "Japan": "Tokyo",
    "Nepal": "Kathmandu",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Canada": "Ottawa",
    "Peru": "Lima",
}
_NAMES = ("Alice", "Emma", "Frank", "Grace", "Henry", "Karen", "Maria", "Oscar", "Victor", "Zoe")


@dataclass(frozen=True, slots=True)
class Question:
    custom_id: str
    text: str
    answer: str


def questions(count: int, seed: int = 0) -> list[Question]:
    """Sums, capitals and extractions in turn; the same for the same seed."""
    dice = random.Random(seed)
    makers = (_sum, _capital, _sum, _extraction)
    return [Question(f"q-{number}", *makers[number % len(makers)](dice)) for number in range(count)]


def write_batch(path: Path, asked: list[Question], *, model: str | None = "demo") -> None:
    """An input file that `vllm run-batch`, `fastdeploy run-batch` and `batchyard run-batch` read alike."""
    with path.open("w") as file:
        for question in asked:
            body: dict[str, object] = {"model": model} if model else {}
            body |= {"messages": [{"role": "user", "content": question.text}], "max_tokens": 32, "temperature": 0}
            line = {"custom_id": question.custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps(line) + "\n")


def right_answers(path: Path, asked: list[Question]) -> int:
    """How many of the questions an output file answers rightly."""
    expected = {question.custom_id: question.answer for question in asked}
    with path.open() as file:
        return sum(_answer(line) == expected[json.loads(line)["custom_id"]] for line in file)


def _answer(line: str) -> str | None:
    try:
        return json.loads(line)["response"]["body"]["choices"][0]["message"]["content"].strip()
    except (KeyError, TypeError):
        return None


def _sum(dice: random.Random) -> tuple[str, str]:
    a, b = dice.randrange(10, 60), dice.randrange(10, 60)  # of larger sums the model has one or two wrong
    return f"What is {a} + {b}?", str(a + b)


def _capital(dice: random.Random) -> tuple[str, str]:
    country = dice.choice(sorted(_CAPITALS))
    return f"What is the capital of {country}?", _CAPITALS[country]


def _extraction(dice: random.Random) -> tuple[str, str]:
    name, city = dice.choice(_NAMES), dice.choice(sorted(_CAPITALS.values()))
    return f"Extract name and city as JSON: {name} lives in {city}.", json.dumps({"name": name, "city": city})
