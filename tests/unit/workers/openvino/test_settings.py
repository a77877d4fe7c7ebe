from typing import Any

import pytest

from batchyard.workers.openai import BadRequest
from batchyard.workers.openvino.settings import refuse_what_is_missing, sampler_settings, seeded

STOPS = frozenset({2})


def test_temperature_zero_takes_the_likeliest() -> None:
    settings = sampler_settings({"temperature": 0}, STOPS, None)
    assert settings["do_sample"] is False
    assert "temperature" not in settings
    assert seeded(settings, {"seed": 3}, 0) == settings


def test_otherwise_tokens_are_drawn_from_all() -> None:
    settings = sampler_settings({"top_k": -1}, STOPS, None)
    assert settings["do_sample"] is True
    assert {"temperature", "top_p", "top_k"}.isdisjoint(settings)


def test_each_choice_has_a_seed_of_its_own() -> None:
    settings = sampler_settings({}, STOPS, None)
    assert [seeded(settings, {"seed": 7}, choice)["rng_seed"] for choice in range(3)] == [7, 8, 9]
    assert len({seeded(settings, {}, 0)["rng_seed"] for _ in range(20)}) > 1


def test_fields_go_over_by_their_names() -> None:
    body = {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_tokens": 2, "stop": "x", "ignore_eos": True}
    settings = sampler_settings({**body, "stop_token_ids": [9]}, STOPS, '{"type": "object"}')
    assert settings == {
        "do_sample": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "min_new_tokens": 2,
        "stop_strings": {"x"},
        "ignore_eos": True,
        "eos_token_id": 2,
        "stop_token_ids": {2, 9},
        "json_schema": '{"type": "object"}',
    }


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": "hot"},
        {"temperature": -1},
        {"top_p": 2},
        {"top_k": 1.5},
        {"stop": [""]},
        {"stop": [1]},
        {"stop_token_ids": ["x"]},
        {"presence_penalty": True},
    ],
)
def test_a_value_that_the_sampler_would_not_take_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        sampler_settings(body, STOPS, None)
    assert next(iter(body)).encode() in caught.value.answer.body


def test_what_the_engine_lacks_is_refused_but_not_its_absence() -> None:
    refuse_what_is_missing({"tools": [], "logit_bias": {}})
    refuse_what_is_missing({"tools": [{}], "tool_choice": "none"})
    bad: list[dict[str, Any]] = [{"tools": [{}]}, {"logit_bias": {"5": 1}}]
    for body in bad:
        with pytest.raises(BadRequest):
            refuse_what_is_missing(body)
