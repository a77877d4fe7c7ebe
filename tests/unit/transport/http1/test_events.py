"""Server-sent events, however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.transport.http1 import BrokenEvents, EventReader

STREAM = (
    "\ufeff: welcome\n\ndata: one\r\nid: 7\r\n\r\nevent: x\rdata:two\rdata: zwei ü€😀\r\r: beat\n"
    "\ndata\n\ndata:  [DONE]\n\n"
    "data: never ended\n"
).encode()
EVENTS = [b"one", "two\nzwei ü€😀".encode(), b"", b" [DONE]"]


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    reader, ends = EventReader(), [*sorted(cuts), len(STREAM)]
    starts = [0, *ends[:-1]]
    assert [e for a, b in zip(starts, ends, strict=True) for e in reader.feed(STREAM[a:b])] == EVENTS


@pytest.mark.parametrize("piece", [b"x" * 10, b"data: xxxx\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    reader = EventReader(most_bytes=100)
    with pytest.raises(BrokenEvents):
        for _ in range(50):
            list(reader.feed(piece))
