"""JSON on one line of ASCII."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.dialects.lines._ascii import one_line, quoted
from tests.support.request_lines import json_values, texts


@given(json_values, st.booleans(), st.sampled_from([None, 2]))
def test_one_line_says_the_same_in_ascii(value: Any, ascii_only: bool, indent: int | None) -> None:
    line = one_line(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode())
    assert line is not None
    assert line.isascii() and b"\n" not in line
    assert json.loads(line) == value


def test_tokens_stay_as_they_were_written() -> None:
    body = '{"big":123456789012345678901234567890,"e":1e0,"t":1.50,"s":"\\u00e9\\/","ö":"😀\u2028"}'
    expected = rb'{"big":123456789012345678901234567890,"e":1e0,"t":1.50,"s":"\u00e9\/","\u00f6":"\ud83d\ude00\u2028"}'
    assert one_line(body.encode()) == expected


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b'{"a":"\xff"}', b'{"a":"\n"}', b'{"a":NaN}', b"[" * 10**5])
def test_what_is_no_json_has_no_line(body: bytes) -> None:
    assert one_line(body) is None


@given(texts)
def test_a_quoted_text_is_the_text(text: str) -> None:
    assert json.loads(quoted(text)) == text
    assert quoted(text).isascii()
