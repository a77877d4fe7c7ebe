"""Forms, however the network cuts them."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.domain.errors import Invalid
from batchyard.server.multipart import END, HEAD_BYTES, PARTS, Head, Multipart, boundary_of

BOUNDARY = b"----b0"

names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\%'), min_size=1, max_size=8)
contents = st.binary(max_size=40) | st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"\r\n--", b"\r\n------b", BOUNDARY[:-1], b"x"]), max_size=8
).map(b"".join)
parts = st.tuples(names, st.none() | names, contents)


def written(form: list[tuple[str, str | None, bytes]], boundary: bytes = BOUNDARY, end: bytes = b"\r\n") -> bytes:
    """A form as clients write it."""
    out = b""
    for name, filename, content in form:
        told = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        out += b"--" + boundary + b"\r\nContent-Disposition: " + told.encode() + b"\r\n\r\n" + content + b"\r\n"
    return out + b"--" + boundary + b"--" + end


def read(pieces: list[bytes], boundary: bytes = BOUNDARY) -> list[tuple[Head, bytes]]:
    """All parts of a form that comes in pieces."""
    form = Multipart(boundary)
    found: list[tuple[Head, bytes]] = []
    open_part: tuple[Head, bytearray] | None = None
    for piece in pieces:
        for event in form.feed(piece):
            if isinstance(event, Head):
                open_part = event, bytearray()
            elif event is END:
                assert open_part is not None
                found.append((open_part[0], bytes(open_part[1])))
                open_part = None
            else:
                assert open_part is not None and event
                open_part[1].extend(event)
    form.close()
    assert open_part is None
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(marks)]


@given(st.lists(parts, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_what_was_written_is_read_wherever_it_is_cut(form: list[tuple[str, str | None, bytes]], at: list[int]) -> None:
    data = written(form)
    if any(b"\r\n--" + BOUNDARY in b"\r\n" + content for _, _, content in form):
        return  # no client picks a boundary that its content holds
    assert read(cut(data, at)) == [(Head(name, filename), content) for name, filename, content in form]


@given(st.lists(parts, min_size=1, max_size=2))
def test_one_byte_at_a_time_is_read_too(form: list[tuple[str, str | None, bytes]]) -> None:
    if any(b"\r\n--" + BOUNDARY in b"\r\n" + content for _, _, content in form):
        return
    data = written(form)
    assert len(read([data[i : i + 1] for i in range(len(data))])) == len(form)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_are_read_or_refused(data: bytes, at: list[int]) -> None:
    for start in (b"", b"--" + BOUNDARY, b"--" + BOUNDARY + b"\r\n", written([("a", None, b"")])[:-4]):
        with suppress(Invalid):
            read([start, *cut(data, at)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no form at all",
        b"--" + BOUNDARY + b"x\r\n",
        b"--" + BOUNDARY + b"\r\n\r\n\r\n\r\nno disposition",
        b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data\r\n\r\nno name",
    ],
)
def test_what_is_no_form_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        read([data])


@given(st.integers(0, 120))
def test_a_form_that_ends_too_early_is_refused(length: int) -> None:
    data = written([("file", "a.jsonl", b"x" * 20)], end=b"")
    with pytest.raises(Invalid):
        read([data[: min(length, len(data) - 1)]])


def test_a_large_piece_passes_through_uncopied() -> None:
    form = Multipart(BOUNDARY)
    head = written([("file", "a", b"")]).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert list(form.feed(head)) == [Head("file", "a")]
    piece = b"line\n" * 10_000
    (passed,) = form.feed(piece)
    assert passed is piece


@pytest.mark.parametrize(
    ("written_name", "meant"),
    [
        (b'filename="a\\"b.jsonl"', 'a"b.jsonl'),
        (b'filename="a%22b.jsonl"', 'a"b.jsonl'),
        (b'filename="C:\\dir\\a.jsonl"', "C:\\dir\\a.jsonl"),
        (b'filename="dir\\"', "dir\\"),
        (b"filename=plain.jsonl", "plain.jsonl"),
        ('filename="näch\u2028t.jsonl"'.encode(), "näch\u2028t.jsonl"),
        (b"filename=\"x\"; filename*=UTF-8''n%C3%A4cht.jsonl", "nächt.jsonl"),
        (b'filename=""', ""),
    ],
)
def test_names_are_read_as_clients_write_them(written_name: bytes, meant: str) -> None:
    head = b'--b\r\ncontent-type: x/y\r\nCONTENT-DISPOSITION: form-data; name="file"; ' + written_name + b"\r\n\r\n"
    assert list(Multipart(b"b").feed(head)) == [Head("file", meant)]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b:c"', b"a b:c"),
        ("multipart/form-data;boundary=abc; charset=utf-8", b"abc"),
    ],
)
def test_the_boundary_is_found(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=a"])
def test_no_boundary_is_no_form(content_type: str) -> None:
    with pytest.raises(Invalid, match="multipart/form-data"):
        boundary_of(content_type)


def test_a_form_without_end_is_bounded() -> None:
    with pytest.raises(Invalid, match="headers"):
        read([b"--" + BOUNDARY + b"\r\n", b"x" * (HEAD_BYTES + 1)])
    with pytest.raises(Invalid, match="parts"):
        read([written([("a", None, b"")] * (PARTS + 1))])
