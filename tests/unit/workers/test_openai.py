from typing import Any

import msgspec
import pytest

from batchyard.workers.openai import (
    BadRequest,
    checked_messages,
    legacy_logprobs,
    most_tokens,
    prompts_of,
    read_body,
    seed_of,
    texts_of,
    wanted_schema,
)


def param_of(refusal: BadRequest) -> str | None:
    return msgspec.json.decode(refusal.answer.body)["error"]["param"]


def test_a_body_never_asks_the_engine_to_stream() -> None:
    assert read_body(b'{"model": "m", "stream": true, "stream_options": {}}') == {"model": "m"}
    with pytest.raises(BadRequest):
        read_body(b"[]")


@pytest.mark.parametrize(
    ("body", "schema"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, {"type": "object"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}}, {"type": "array"}),
        ({"guided_json": '{"type": "array"}'}, {"type": "array"}),
        ({"structured_outputs": {"json": {"type": "array"}}}, {"type": "array"}),
    ],
)
def test_a_schema_is_found_in_all_its_spellings(body: dict[str, Any], schema: object) -> None:
    assert wanted_schema(body) == schema


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"response_format": "json"}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"structured_outputs": {"regex": "a+"}}, "structured_outputs"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_choice": ["a"]}, "guided_choice"),
    ],
)
def test_a_form_that_cannot_be_kept_is_refused_rather_than_ignored(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        wanted_schema(body)
    assert param_of(caught.value) == param


def test_the_newer_name_of_the_limit_goes_first() -> None:
    assert most_tokens({"max_tokens": 5, "max_completion_tokens": 3}) == 3
    assert most_tokens({"max_tokens": None}) is None
    with pytest.raises(BadRequest):
        most_tokens({"max_tokens": True})


def test_any_whole_number_is_a_seed() -> None:
    assert seed_of({"seed": -1}) == 0x7FFFFFFF
    assert seed_of({}) is None


def test_texts_are_told_apart_from_token_ids() -> None:
    assert texts_of("a", "input") == ["a"]
    assert texts_of([1, 2], "input") == [[1, 2]]
    assert texts_of(["a", [1, 2]], "input") == ["a", [1, 2]]
    nothing: list[object] = []
    for bad in (None, nothing, [nothing], ["a", 1], [True], 5):
        with pytest.raises(BadRequest):
            texts_of(bad, "input")


def test_a_suffix_is_refused() -> None:
    assert prompts_of({"prompt": "a", "suffix": None, "best_of": 1}) == ["a"]
    with pytest.raises(BadRequest):
        prompts_of({"prompt": "a", "suffix": "b"})


def test_an_image_is_seen_only_by_eyes_and_only_inside_the_request() -> None:
    def chat(url: str) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"messages": [{"role": "user", "content": [part]}]}

    assert checked_messages(chat("data:image/png;base64,AA=="), sees_images=True)
    for url, sees in (("data:image/png;base64,AA==", False), ("https://example.org/x.png", True)):
        with pytest.raises(BadRequest):
            checked_messages(chat(url), sees_images=sees)


def test_sound_is_refused() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    with pytest.raises(BadRequest) as caught:
        checked_messages({"messages": [{"role": "user", "content": [part]}]}, sees_images=True)
    assert param_of(caught.value) == "messages[0].content[0]"


def test_old_log_probabilities_are_lists_side_by_side() -> None:
    tokens: list[dict[str, Any]] = [
        {"token": "ab", "logprob": -0.5, "top_logprobs": [{"token": "ab", "logprob": -0.5}]},
        {"token": "c", "logprob": -1.5, "top_logprobs": []},
    ]
    assert legacy_logprobs(tokens) == {
        "tokens": ["ab", "c"],
        "token_logprobs": [-0.5, -1.5],
        "top_logprobs": [{"ab": -0.5}, {}],
        "text_offset": [0, 2],
    }
