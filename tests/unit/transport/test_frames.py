import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.transport.frames import HEAD, MAX_FRAME_BYTES, BrokenStream, Frame, FrameReader, pack

frames = st.lists(st.builds(Frame, st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary(max_size=100)), max_size=8)


@given(frames, st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(sent: list[Frame], piece: int) -> None:
    stream = b"".join(pack(frame) for frame in sent)
    reader = FrameReader()
    heard = [frame for at in range(0, len(stream), piece) for frame in reader.feed(stream[at : at + piece])]
    assert heard == sent


def test_a_stream_out_of_step_is_noticed() -> None:
    with pytest.raises(BrokenStream):
        list(FrameReader().feed(HEAD.pack(MAX_FRAME_BYTES + 1, 1, 1)))
