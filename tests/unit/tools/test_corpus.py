import ast
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.demo_model import corpus
from tools.demo_model.corpus import QUESTIONS, draw, is_held_out, oracle
from tools.demo_model.requests import batch


@given(st.integers(0, 2**32), st.sampled_from([None, *QUESTIONS]), st.booleans())
def test_the_oracle_answers_whatever_is_drawn(seed: int, kind: str | None, held_out: bool) -> None:
    example = draw(random.Random(seed), kind, held_out=held_out)
    assert oracle(example.question) == example.answer
    if example.kind != "capital":
        assert is_held_out(example.question) == held_out


def test_the_same_seed_draws_the_same() -> None:
    first, second = ([draw(source) for _ in range(50)] for source in (random.Random(4), random.Random(4)))
    assert first == second


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 30 + 40?", "70"),
        ("Capital of Iceland?", "Reykjavik"),
        ("Label this ticket: I forgot my password.", "account"),
        ("Sentiment of this review? Cheap monitor! Do not buy it.", "negative"),
        ("Return JSON with name and city: In Madrid you can meet Kofi.", '{"name": "Kofi", "city": "Madrid"}'),
    ],
)
def test_the_oracle_knows_these(question: str, answer: str) -> None:
    assert oracle(question) == answer


def test_the_oracle_does_not_guess() -> None:
    for question in ("Hi, who are you?", "Capital of Atlantis?", "What is one + two?"):
        with pytest.raises(LookupError):
            oracle(question)


def test_the_oracle_answers_every_line_of_the_demo() -> None:
    lines, answers = batch()
    for line in lines:
        body = line["body"]
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        question = prompt.removeprefix("<|im_start|>user\n").partition("<|im_end|>")[0]
        assert oracle(question) == answers[line["custom_id"]]
        assert line["custom_id"].startswith("capital") or is_held_out(question)


def test_the_training_script_is_whole() -> None:
    """It needs torch, which tests do not; it must at least compile."""
    folder = Path(corpus.__file__).parent
    for script in folder.glob("*.py"):
        ast.parse(script.read_text(), script.name)
