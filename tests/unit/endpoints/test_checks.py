"""What each endpoint asks of a body, and what it says of it."""

import json
from typing import Any

import pytest

from batchyard.endpoint import Endpoint, Problem, Traits, decode_body
from batchyard.endpoints import ENDPOINTS

RIGHT: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [{"messages": [{"role": "user", "content": "hi"}]}, {"messages": []}],
    "/v1/completions": [{"prompt": "hi"}, {"prompt": [1, 2]}, {"prompt": ["a", "b"]}],
    "/v1/embeddings": [{"input": "hi"}, {"input": ["a"]}, {"messages": [{"role": "user", "content": "hi"}]}],
    "/v1/score": [
        {"text_1": "a", "text_2": ["b", "c"]},
        {"queries": "a", "documents": ["b"]},
        {"queries": "a", "items": ["b"]},
        {"data_1": {"content": []}, "data_2": "b"},
    ],
    "/v1/rerank": [{"query": "a", "documents": ["b", "c"]}],
    "/v1/responses": [{"input": "hi"}, {"input": [{"role": "user", "content": "hi"}]}],
    "/v1/images/generations": [
        {"prompt": "a cat"},
        {"prompt": "a cat", "n": 10, "size": "1024x1536", "response_format": "b64_json"},
        {"prompt": "a cat", "n": None, "size": None, "response_format": None, "quality": "high"},
        {"prompt": "a cat", "size": "auto"},
    ],
}
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("/v1/chat/completions", {}, "messages", "Missing"),
    ("/v1/chat/completions", {"messages": None}, "messages", "Missing"),
    ("/v1/chat/completions", {"messages": "hi"}, "messages", "a string"),
    ("/v1/completions", {"messages": []}, "prompt", "Missing"),
    ("/v1/completions", {"prompt": {"a": 1}}, "prompt", "an object"),
    ("/v1/embeddings", {"input": 5}, "input", "a number"),
    ("/v1/embeddings", {}, "input", "Missing"),
    ("/v1/score", {"text_1": "a"}, "text_2", "Missing"),
    ("/v1/score", {"text_2": "a"}, "text_1", "Missing"),
    ("/v1/rerank", {"documents": ["a"]}, "query", "Missing"),
    ("/v1/rerank", {"query": "a", "documents": "b"}, "documents", "a string"),
    ("/v1/responses", {"input": True}, "input", "a boolean"),
    ("/v1/chat/completions", {"messages": [], "n": 1.5}, "n", "1.5"),
    ("/v1/completions", {"prompt": "a", "max_tokens": 0.5}, "max_tokens", "0.5"),
    ("/v1/responses", {"input": "a", "max_output_tokens": 2.5}, "max_output_tokens", "2.5"),
    ("/v1/images/generations", {}, "prompt", "Missing"),
    ("/v1/images/generations", {"prompt": ["a"]}, "prompt", "an array"),
    ("/v1/images/generations", {"prompt": "a", "n": 0}, "n", "0"),
    ("/v1/images/generations", {"prompt": "a", "n": 11}, "n", "11"),
    ("/v1/images/generations", {"prompt": "a", "n": 1.5}, "n", "1.5"),
    ("/v1/images/generations", {"prompt": "a", "seed": 0.5}, "seed", "0.5"),
    ("/v1/images/generations", {"prompt": "a", "size": "large"}, "size", "no size"),
    ("/v1/images/generations", {"prompt": "a", "size": "0x64"}, "size", "no size"),
    ("/v1/images/generations", {"prompt": "a", "size": 512}, "size", "no size"),
    ("/v1/images/generations", {"prompt": "a", "response_format": "url"}, "response_format", '"url"'),
    ("/v1/images/generations", {"prompt": "a", "response_format": {}}, "response_format", "no string"),
]


def check(endpoint: Endpoint, fields: dict[str, Any]) -> Traits | Problem:
    body = decode_body(json.dumps(fields).encode())
    return endpoint.check(body, bytes(getattr(body, endpoint.prompt)))


def traits(path: str, **fields: Any) -> Traits:
    found = check(ENDPOINTS[path], fields)
    assert isinstance(found, Traits)
    return found


def chat(**fields: Any) -> Traits:
    return traits("/v1/chat/completions", messages=[{"role": "user", "content": "hi"}], **fields)


def test_every_endpoint_is_known_by_its_own_path() -> None:
    assert set(ENDPOINTS) == set(RIGHT)
    assert all(endpoint.path == path for path, endpoint in ENDPOINTS.items())


@pytest.mark.parametrize(("path", "fields"), [(path, fields) for path, bodies in RIGHT.items() for fields in bodies])
def test_a_body_with_what_its_endpoint_needs_is_right(path: str, fields: dict[str, Any]) -> None:
    assert isinstance(check(ENDPOINTS[path], fields), Traits)


@pytest.mark.parametrize(("path", "fields", "param", "text"), WRONG)
def test_a_wrong_body_is_told_with_its_field_and_a_remedy(
    path: str, fields: dict[str, Any], param: str, text: str
) -> None:
    problem = check(ENDPOINTS[path], fields)

    assert isinstance(problem, Problem)
    assert (problem.code, problem.param) == ("invalid_request", param)
    assert text in problem.message
    assert problem.remedy


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert chat(n=2.0, max_tokens=10.0).output_tokens == 20


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/score", "/v1/rerank"])
def test_what_generates_nothing_is_repeatable(path: str) -> None:
    assert traits(path, **RIGHT[path][0]).repeatable


def test_only_a_seed_makes_the_same_picture_again() -> None:
    path = "/v1/images/generations"
    assert traits(path, prompt="a", seed=3, n=2) == Traits(repeatable=True, output_tokens=0)
    assert not traits(path, prompt="a", temperature=0).repeatable


def test_pictures_by_url_are_refused_with_the_word_to_write_instead() -> None:
    problem = check(ENDPOINTS["/v1/images/generations"], {"prompt": "a", "response_format": "url"})
    assert isinstance(problem, Problem) and "b64_json" in problem.remedy


def test_a_generation_is_repeatable_as_the_policy_says() -> None:
    assert chat(temperature=0).repeatable
    assert chat(temperature=1, seed=3).repeatable
    assert not chat().repeatable
    assert not chat(temperature=0, n=2).repeatable


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": -4}, 0),
        ({"max_tokens": 2**63}, 2**32 - 1),
        ({"max_tokens": 1e300, "n": 1e300}, 2**32 - 1),
        ({"max_tokens": 1.0, "n": 10**400}, 2**32 - 1),
    ],
)
def test_the_most_tokens_of_an_answer_fit_into_a_plan(fields: dict[str, Any], expected: int) -> None:
    assert chat(**fields).output_tokens == expected


@pytest.mark.parametrize("path", list(ENDPOINTS))
def test_nothing_but_the_type_of_a_prompt_matters(path: str) -> None:
    endpoint, body = ENDPOINTS[path], decode_body(json.dumps(RIGHT[path][0]).encode())
    prompt = bytes(getattr(body, endpoint.prompt))
    assert endpoint.check(body, prompt) == endpoint.check(body, prompt[:1])
