"""What calls say, and what is wrong with them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.dialects.openai.calls import (
    ListCall,
    batch_fields,
    completion_fields,
    form_expiry,
    list_call,
    upload_fields,
)
from batchyard.domain.errors import Invalid
from batchyard.domain.file import ExpiresAfter
from batchyard.store import Direction

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
ALL = (
    "input_file_id endpoint completion_window metadata output_expires_after filename purpose bytes mime_type "
    "expires_after part_ids md5 anything"
)
keys = st.sampled_from(ALL.split(" "))


@given(st.dictionaries(keys, json))
def test_any_object_is_read_or_refused(fields: dict[str, Any]) -> None:
    body = msgspec.json.encode(fields)
    for read in (batch_fields, upload_fields, completion_fields):
        try:
            read(body, 16)
        except Invalid as error:
            assert error.reason in ("invalid_type", "missing_required_parameter") and error.param


def test_a_batch_is_read_with_what_it_leaves_out() -> None:
    read = batch_fields(b'{"input_file_id": "file-1", "metadata": null, "anchor": "created_at"}', 16)
    assert read == {
        "input_file_id": "file-1", "endpoint": None, "completion_window": None, "metadata": None,
        "output_expires_after": None, "priority": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"endpoint": 7}, "endpoint", "invalid_type"),
        ({"metadata": []}, "metadata", "invalid_type"),
        (
            {"output_expires_after": {"anchor": "created_at"}},
            "output_expires_after.seconds",
            "missing_required_parameter",
        ),
        ({"output_expires_after": {"seconds": True}}, "output_expires_after.seconds", "invalid_type"),
        ({"output_expires_after": {"seconds": 3600.0}}, "output_expires_after.seconds", "invalid_type"),
        ({"output_expires_after": {"seconds": 3600, "anchor": 1}}, "output_expires_after.anchor", "invalid_type"),
    ],
)
def test_a_wrong_type_names_its_field(fields: dict[str, Any], param: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        batch_fields(msgspec.json.encode(fields), 16)
    assert (caught.value.param, caught.value.reason) == (param, reason)


def test_a_number_that_is_too_large_to_be_one_is_refused() -> None:
    for body in (b'{"metadata": {"a": 1e999}}', b'{"endpoint": 1E400}'):
        with pytest.raises(Invalid, match="parse"):
            batch_fields(body, 16)


def test_parts_are_named_one_by_one() -> None:
    with pytest.raises(Invalid) as caught:
        completion_fields(b'{"part_ids": ["a", 7]}', 16)
    assert caught.value.param == "part_ids[1]"


@pytest.mark.parametrize("spelling", ["expires_after[{}]", "expires_after.{}"])
def test_both_spellings_of_an_expiry_are_read(spelling: str) -> None:
    fields = {spelling.format("seconds"): "7200", spelling.format("anchor"): "created_at"}
    assert form_expiry(fields) == ExpiresAfter(7200, "created_at")


def test_a_form_may_have_no_expiry_but_not_half_a_one() -> None:
    assert form_expiry({"purpose": "batch"}) is None
    with pytest.raises(Invalid, match="seconds"):
        form_expiry({"expires_after[anchor]": "created_at"})
    with pytest.raises(Invalid, match="integer"):
        form_expiry({"expires_after[seconds]": "soon"})


def test_a_list_call_is_read() -> None:
    assert list_call({}) == ListCall(None, None, Direction.DESC)
    assert list_call({"after": "", "limit": "0", "order": "asc"}) == ListCall(None, 0, Direction.ASC)


@pytest.mark.parametrize("query", [{"limit": "x"}, {"limit": ""}, {"limit": "9" * 30}, {"order": "up"}, {"limit": "²"}])
def test_a_list_call_that_cannot_be_read_names_its_parameter(query: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        list_call(query)
    assert [caught.value.param] == list(query)
