"""Keys come in two spellings, mixed; what is the caller's own keeps its keys."""

from typing import Any

import pytest

from batchyard.dialects.gemini.spelling import camel, normal
from batchyard.dialects.gemini.unfit import Shapeless


@pytest.mark.parametrize(
    ("key", "read"),
    [
        ("mime_type", "mimeType"),
        ("mimeType", "mimeType"),
        ("_responseJsonSchema", "responseJsonSchema"),
        ("topK", "topK"),
    ],
)
def test_a_key_is_read_in_either_spelling(key: str, read: str) -> None:
    assert camel(key) == read


def test_keys_are_read_at_every_depth() -> None:
    given = {"system_instruction": {"parts": [{"inline_data": {"mime_type": "image/png"}}]}}
    assert normal(given) == {"systemInstruction": {"parts": [{"inlineData": {"mimeType": "image/png"}}]}}


def test_what_a_caller_wrote_freely_keeps_its_keys() -> None:
    args = {"city_name": {"a_b": 1}}
    given: dict[str, Any] = {
        "function_call": {"name": "f", "args": args},
        "function_response": {"name": "f", "response": args},
        "response_json_schema": {"properties": {"first_name": {"any_of": []}}},
        "labels": {"my_label": "x"},
    }
    assert normal(given) == {
        "functionCall": {"name": "f", "args": args},
        "functionResponse": {"name": "f", "response": args},
        "responseJsonSchema": {"properties": {"first_name": {"any_of": []}}},
        "labels": {"my_label": "x"},
    }


def test_names_of_properties_are_names_and_their_schemas_are_read() -> None:
    given = {"response_schema": {"properties": {"first_name": {"any_of": [{"min_items": 1}]}}}}
    assert normal(given) == {"responseSchema": {"properties": {"first_name": {"anyOf": [{"minItems": 1}]}}}}


def test_a_key_in_both_spellings_is_refused_by_name() -> None:
    with pytest.raises(Shapeless, match="generationConfig"):
        normal({"generation_config": {}, "generationConfig": {}})
