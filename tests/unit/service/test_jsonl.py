"""The first line is found in any pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.errors import Invalid
from batchyard.service.jsonl import FirstLine


def accepted(*chunks: bytes) -> bool:
    first = FirstLine()
    for chunk in chunks:
        first.feed(chunk)
    try:
        first.require_json()
    except Invalid:
        return False
    return True


@given(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf\n\n"]),
    st.sampled_from([b'{"a": 1}', b"[]", b"{", b"not", b"", b"{}{}", b'{"a": "\xff"}', b"1e999"]),
    st.sampled_from([b"", b"\n", b"\r\n", b"\nnot json\n{}"]),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_the_pieces_do_not_matter(before: bytes, line: bytes, after: bytes, cuts: list[int]) -> None:
    data = before + line + after
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(places)]
    assert accepted(*chunks) == accepted(data)


def test_every_byte_may_come_alone() -> None:
    assert accepted(*(bytes([byte]) for byte in b'\xef\xbb\xbf\n {"a": [1, 2]}\nrest'))


@pytest.mark.parametrize(("start", "expected"), [(b'{"a": "', True), (b"a,b,", False)])
def test_a_very_long_first_line_is_judged_by_its_beginning(start: bytes, expected: bool) -> None:
    assert accepted(start, *[b"x" * (1 << 18)] * 8) is expected


def test_little_is_kept_of_a_long_line() -> None:
    first = FirstLine()
    for _ in range(100):
        first.feed(b"{" + b"x" * (1 << 20))
    assert len(first._kept) <= (1 << 20) + 2  # pyright: ignore[reportPrivateUsage]


def test_depth_is_left_to_whoever_checks_the_lines() -> None:
    assert accepted(b"[" * 5_000 + b"]" * 5_000)
