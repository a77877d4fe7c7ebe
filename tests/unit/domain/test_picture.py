"""What bytes are, by their beginning."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batchyard.domain.picture import GIF, JPEG, PNG, WEBP, Picture, picture_of, sniffed
from tests.support import pictures
from tests.support.models import png

SIDES = st.integers(1, 16_383)


def test_a_real_picture_is_told() -> None:
    assert picture_of(png(1, 2, 3)) == Picture(PNG, 64, 64)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}), ("PNG", {"interlace": 1}), ("GIF", {}), ("JPEG", {}), ("JPEG", {"progressive": True}),
        ("WEBP", {}), ("WEBP", {"lossless": True}), ("WEBP", {"exif": b"Exif\x00\x00abc"}),
    ],
)  # fmt: skip
def test_pictures_as_a_library_writes_them_are_told(kind: str, options: dict[str, Any]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (321, 123)).save(file, kind, **options)
    assert picture_of(file.getvalue()) == Picture(f"image/{kind.lower()}", 321, 123)


@given(SIDES, SIDES)
def test_every_type_tells_its_size(width: int, height: int) -> None:
    assert picture_of(pictures.png_header(width, height)) == Picture(PNG, width, height)
    assert picture_of(pictures.gif(width, height)) == Picture(GIF, width, height)
    assert picture_of(pictures.jpeg(width, height)) == Picture(JPEG, width, height)
    for kind in (b"VP8 ", b"VP8L", b"VP8X"):
        assert picture_of(pictures.webp(kind, width, height)) == Picture(WEBP, width, height)


def test_the_size_of_a_jpeg_is_not_that_of_its_thumbnail() -> None:
    assert picture_of(pictures.jpeg(3000, 2000, pictures.thumbnail(16, 12))) == Picture(JPEG, 3000, 2000)


@pytest.mark.parametrize("kind", [b"VP8 ", b"VP8L", b"VP8X", PNG, JPEG, GIF])
def test_a_header_that_ends_too_early_is_none(kind: bytes | str) -> None:
    whole = {PNG: pictures.png_header(7, 5)[:24], JPEG: pictures.jpeg(7, 5)[:-10], GIF: pictures.gif(7, 5)[:10]}
    data = whole[kind] if isinstance(kind, str) else pictures.webp(kind, 7, 5)
    assert picture_of(data) is not None
    assert [picture_of(data[:end]) for end in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize("data", [pictures.png_header(0, 5), pictures.gif(5, 0), pictures.jpeg(0, 0)])
def test_a_picture_without_pixels_is_none(data: bytes) -> None:
    assert picture_of(data) is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7\n", "application/pdf"),
        (b"BM\x00\x00", "image/bmp"),
        (b"II*\x00", "image/tiff"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"RIFF\x00\x00\x00\x00WAVE", "audio/wav"),
        (b"ID3\x03", "audio/mpeg"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html>", "text/html"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''>", "image/svg+xml"),
        (b"<svg>", "image/svg+xml"),
        (b"hello", None),
        (b"", None),
    ],
)
def test_other_things_are_known_by_name_and_are_no_pictures(data: bytes, kind: str | None) -> None:
    assert sniffed(data) == kind and picture_of(data) is None


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFFxxxxWEBPVP8 "]))
def test_any_bytes_are_a_picture_with_pixels_or_none(data: bytes, front: bytes) -> None:
    found = picture_of(front + data)
    assert found is None or found.pixels > 0
