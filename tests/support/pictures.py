"""Pictures for tests: real ones, and headers of pictures that are not there."""

import base64
import struct
import zlib

from tests.support.models import png

RED, GREEN, BLUE = png(255, 0, 0), png(0, 255, 0), png(0, 0, 255)


def data_url(data: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and has none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)


def jpeg(width: int, height: int, *before: bytes) -> bytes:
    """A JPEG's segments up to its frame: a JFIF one, those given, a table, the frame of a progressive picture."""
    app0 = _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
    frame = _segment(0xC2, struct.pack(">BHHB", 8, height, width, 3) + bytes(9))
    return b"\xff\xd8" + app0 + b"".join(before) + _segment(0xC4, bytes(20)) + b"\xff" + frame


def thumbnail(width: int, height: int) -> bytes:
    """An EXIF segment with a picture in it."""
    return _segment(0xE1, b"Exif\x00\x00" + jpeg(width, height))


def webp(kind: bytes, width: int, height: int) -> bytes:
    """A WebP of the kind `VP8 `, `VP8L` or `VP8X`, up to its size."""
    match kind:
        case b"VP8 ":
            body = b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width | 0x4000, height)
        case b"VP8L":
            body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14)
        case _:
            body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data
