import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.result import Answer, Outcome, Result
from batchyard.journals.disk.text import decode, encode
from tests.support.any_results import results
from tests.support.results import a_result


@given(results(st.integers(0, 2**32)))
def test_decoding_gives_back_what_was_encoded(result: Result) -> None:
    assert decode(encode(result)) == result


@given(results(st.integers(0, 2**32)))
def test_every_result_is_one_line_of_json_in_utf_8(result: Result) -> None:
    line = encode(result)
    assert line.endswith(b"\n") and len(line.splitlines()) == 1
    assert json.loads(line.decode())["line"] == result.line


def test_a_body_is_kept_byte_for_byte() -> None:
    body = b'{ "b" : 1.50, "a":"\xc3\xa4\\u00e4" }'
    line = encode(a_result(0, body))
    assert body in line


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [
        (b'{\n"a": 1}', "raw", '{\n"a": 1}'),
        (b"<html>", "raw", "<html>"),
        (b"null", "raw", "null"),
        (b'"\xff"', "base64", "Iv8i"),
        (b"", "body", None),
    ],
)
def test_a_body_that_cannot_stand_in_a_line_stands_in_a_string(body: bytes, key: str, value: str | None) -> None:
    assert json.loads(encode(a_result(0, body)))[key] == value


def test_json_that_is_nested_beyond_reason_is_kept_as_text() -> None:
    result = a_result(0, b"[" * 100_000 + b"]" * 100_000)
    assert decode(encode(result)) == result


def test_ids_that_look_like_the_format_do_not_confuse_it() -> None:
    answer = Answer(200, b'{"a":1}', ',"body":{"evil":1}')
    result = Result(1, '","body":{}}\n{"line":2', Outcome.SUCCEEDED, answer)
    assert decode(encode(result)) == result


@pytest.mark.parametrize("line", [b"", b"\n", b"{}\n", b'{"line":1,"body":{}}\n', b'x,"body":{}}\n'])
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)
