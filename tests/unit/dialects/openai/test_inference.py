"""Reading an inference body."""

from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.dialects.openai.fields import too_deep
from batchyard.dialects.openai.inference import error_body, read_call
from batchyard.domain.errors import Invalid

CHAT = "/v1/chat/completions"

trees = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(alphabet='[]{}"\\ab', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\', max_size=3), inner, max_size=3),
    max_leaves=30,
)


def height(tree: object) -> int:
    if isinstance(tree, dict):
        tree = list(cast("dict[str, object]", tree).values())
    return 1 + max(map(height, cast("list[object]", tree)), default=0) if isinstance(tree, list) else 0


@given(trees, st.integers(0, 6))
def test_depth_is_measured_outside_strings(tree: Any, limit: int) -> None:
    assert too_deep(msgspec.json.encode(tree), limit) == (height(tree) > limit)


@given(st.dictionaries(st.text(max_size=4), trees, max_size=4))
def test_a_body_without_wishes_about_its_answer_is_not_touched(fields: dict[str, Any]) -> None:
    body = msgspec.json.encode({**fields, "model": "m"})
    call = read_call(CHAT, body)
    assert (call.model, call.stream) == ("m", False)
    assert call.body == body or {"stream", "stream_options"} & fields.keys()


def test_the_models_own_fields_keep_their_bytes() -> None:
    call = read_call(CHAT, b'{"model": "m", "stream": true, "seed": 1.50, "x": [1 , 2]}')
    assert call.stream and call.body == b'{"model":"m","seed":1.50,"x":[1 , 2]}'


def test_the_model_of_the_path_goes_before_the_bodys() -> None:
    call = read_call(CHAT, b'{"model": "other"}', model="m")
    assert (call.model, call.body) == ("m", b'{"model":"m"}')


@pytest.mark.parametrize("body", [b"{}", b'{"model": null}', b'{"model": ""}'])
def test_a_body_without_a_model_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        read_call(CHAT, body)
    assert (caught.value.reason, caught.value.param) == ("missing_required_parameter", "model")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>502</html>", "<html>502</html>"),
        (b"", "The engine gave no reason."),
        (b'{"error": "no"}', "no"),
        (b'{"detail": "x"}', '{"detail": "x"}'),
        (b'{"error": {"message": "m"}}', "m"),
    ],
)
def test_any_error_becomes_a_whole_envelope(body: bytes, message: str) -> None:
    error = msgspec.json.decode(error_body(body))["error"]
    assert error["message"] == message and sorted(error) == ["code", "message", "param", "type"]
