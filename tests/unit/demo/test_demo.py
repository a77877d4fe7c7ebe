import json
from typing import Any

from batchyard import demo
from tools.demo_model.requests import PERSON_SCHEMA, batch


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in demo.requests().read_text().splitlines()]


def test_the_batch_in_the_package_is_the_one_that_the_tool_makes() -> None:
    made, answers = batch()
    assert lines() == made
    assert demo.answers() == answers


def test_each_line_has_an_id_of_its_own_an_answer_and_no_model() -> None:
    ids = [line["custom_id"] for line in lines()]
    assert len(set(ids)) == len(ids) == 500
    assert set(ids) == set(demo.answers())
    assert not any("model" in line["body"] for line in lines())


def test_the_lines_are_as_diverse_as_a_user_s() -> None:
    bodies = [line["body"] for line in lines()]
    assert {line["url"] for line in lines()} == {"/v1/chat/completions", "/v1/completions"}
    assert len({json.dumps(body) for body in bodies}) == 500
    for field in ("response_format", "stop", "seed", "logprobs"):
        assert any(field in body for body in bodies)
    assert any(message["role"] == "system" for body in bodies for message in body.get("messages", []))


def test_answers_to_lines_with_a_schema_follow_it() -> None:
    for line in lines():
        if "response_format" in line["body"]:
            assert set(json.loads(demo.answers()[line["custom_id"]])) == set(PERSON_SCHEMA["required"])


def test_the_model_is_small_enough_to_ship() -> None:
    assert demo.model_path().stat().st_size < 3_000_000
    assert demo.tokenizer_path().stat().st_size < 100_000
