import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.cli.json_flags import merged


def test_dotted_keys_make_nested_objects() -> None:
    parts = [("a.b", "1"), ("a.c", "text"), ("d", "false"), ("a.list+", "x"), ("a.list+", "2")]
    assert json.loads(merged(parts)) == {"a": {"b": 1, "c": "text", "list": ["x", 2]}, "d": False}


def test_a_whole_object_and_parts_mix_in_order() -> None:
    assert json.loads(merged([("", '{"a": 1, "b": 2}'), ("b", "3")])) == {"a": 1, "b": 3}


def test_a_part_below_a_plain_value_replaces_it() -> None:
    assert json.loads(merged([("a", "1"), ("a.b", "2")])) == {"a": {"b": 2}}


@pytest.mark.parametrize("text", ["[]", "7", "not json", ""])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        merged([("", text)])


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans(), st.none())))
def test_a_whole_object_comes_out_as_it_went_in(value: dict[str, object]) -> None:
    assert json.loads(merged([("", json.dumps(value))])) == value
