"""Which bytes are asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.server.ranges import Span, span, unchanged

TAG = '"abc"'


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("", Span(0, 10)),
        ("bytes=0-", Span(0, 10, True)),
        ("bytes=2-4", Span(2, 5, True)),
        ("bytes=2-99", Span(2, 10, True)),
        ("bytes=-3", Span(7, 10, True)),
        ("bytes=-99", Span(0, 10, True)),
        ("bytes=10-", None),
        ("bytes=-0", None),
        ("bytes=99999999999999999999-", Span(0, 10)),
        ("bytes=-", Span(0, 10)),
        ("bytes=4-2", Span(0, 10)),
        ("bytes=0-1,3-4", Span(0, 10)),
        ("lines=0-1", Span(0, 10)),
    ],
)
def test_a_range_is_understood(asked: str, meant: Span | None) -> None:
    assert span({"range": asked}, 10, TAG) == meant


@pytest.mark.parametrize(
    ("tag", "partial"), [(TAG, True), ('"other"', False), ("Fri, 20 Nov 2026 11:00:00 GMT", False)]
)
def test_a_range_of_another_file_gets_the_whole(tag: str, partial: bool) -> None:
    found = span({"range": "bytes=2-4", "if-range": tag}, 10, TAG)
    assert found is not None and found.partial is partial


@given(st.text(st.sampled_from("bytes=0123456789-, "), max_size=20), st.integers(0, 30))
def test_whatever_is_asked_lies_inside_the_file(asked: str, size: int) -> None:
    found = span({"range": "bytes=" + asked}, size, TAG)
    assert found is None or 0 <= found.start <= found.end <= size


@pytest.mark.parametrize(
    ("asked", "same"), [(TAG, True), ('"x", "abc"', True), ("*", True), ('W/"abc"', True), ("", False)]
)
def test_a_caller_that_has_the_file_is_told_so(asked: str, same: bool) -> None:
    assert unchanged({"if-none-match": asked}, TAG) is same
