"""What bytes are, by their beginning: whatever a request or a web server calls them is not believed.

Only the header of a picture is read, and nothing is unpacked: a picture of a few bytes may say that it has a billion
pixels, and whoever asks can refuse it before anybody draws it. Sources: PNG (W3C, 2003) section 11.2.2; JPEG (ITU-T
T.81) annex B; GIF89a section 18; WebP (RFC 9649) sections 2.5 to 2.7.
"""

from typing import Literal

from msgspec import Struct

PNG, JPEG, WEBP, GIF = "image/png", "image/jpeg", "image/webp", "image/gif"
TAKEN = (PNG, JPEG, WEBP, GIF)
"""The types of pictures that models are shown."""
PDF = "application/pdf"
WAV, MP3 = "audio/wav", "audio/mpeg"
HTML = "text/html"

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"%PDF-", PDF),
    (b"ID3", MP3),
    (b"\xff\xfb", MP3),
    (b"\xff\xf3", MP3),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"BM", "image/bmp"),
)
_IN_RIFF = {b"WEBP": WEBP, b"WAVE": WAV}
_IN_FTYP = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}
_TAGS = ((b"<svg", "image/svg+xml"), (b"<!doctype html", HTML), (b"<html", HTML))
_NO_SOF = (0xC4, 0xC8, 0xCC)
_LONE = (0x01, *range(0xD0, 0xD8))


class Picture(Struct, frozen=True):
    """A picture's type and its size in pixels, as its header tells."""

    mime_type: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def sniffed(data: bytes) -> str | None:
    """The MIME type of bytes by how they begin; None for what is not known, such as plain text."""
    for beginning, mime_type in _BEGINNINGS:
        if data.startswith(beginning):
            return mime_type
    if data.startswith(b"RIFF"):
        return _IN_RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _IN_FTYP.get(data[8:12], "video/mp4")
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((mime_type for tag, mime_type in _TAGS if text.startswith(tag) or _svg_in_xml(text, tag)), None)


def picture_of(data: bytes) -> Picture | None:
    """The picture that bytes begin as; None where they are none that models are shown, or their header is broken."""
    mime_type = sniffed(data)
    size = None
    match mime_type:
        case "image/png":
            size = _png(data)
        case "image/jpeg":
            size = _jpeg(data)
        case "image/webp":
            size = _webp(data)
        case "image/gif":
            size = _pair(data, 6, 2, "little")
        case _:
            pass
    if mime_type is None or size is None or 0 in size:
        return None
    return Picture(mime_type, *size)


def _svg_in_xml(text: bytes, tag: bytes) -> bool:
    return text.startswith(b"<?xml") and tag == b"<svg" and tag in text


def _png(data: bytes) -> tuple[int, int] | None:
    return _pair(data, 16, 4, "big") if data[12:16] == b"IHDR" else None


def _webp(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            size = _pair(data, 26, 2, "little")
            return None if size is None else (size[0] & 0x3FFF, size[1] & 0x3FFF)
        case b"VP8L" if data[20:21] == b"\x2f" and len(data) >= 25:
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            size = _pair(data, 24, 3, "little")
            return None if size is None else (size[0] + 1, size[1] + 1)
        case _:
            return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """Walk the segments up to the frame's header; what lies within one (a thumbnail) is stepped over."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _LONE:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_SOF:
            size = _pair(data, at + 5, 2, "big")
            return None if size is None else (size[1], size[0])
        elif marker in (0xD9, 0xDA):  # the picture ends, or begins, without a frame
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _pair(data: bytes, at: int, width: int, order: Literal["big", "little"]) -> tuple[int, int] | None:
    """Two numbers of so many bytes, one after the other; None where the bytes end before."""
    if len(data) < at + 2 * width:
        return None
    first, second = data[at : at + width], data[at + width : at + 2 * width]
    return int.from_bytes(first, order), int.from_bytes(second, order)
