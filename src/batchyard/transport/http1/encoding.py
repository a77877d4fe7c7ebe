"""Bodies that come compressed, though we never ask for that."""

import zlib

from batchyard.transport.http1.exchange import BadAnswer, Limits, TooLarge


def decoded(body: bytes | bytearray, encoding: bytes, limits: Limits) -> bytes | bytearray:
    """Undo a Content-Encoding that we never asked for but can read."""
    match encoding.strip().lower():
        case b"identity" | b"":
            return body
        case b"gzip" | b"x-gzip" | b"deflate":
            return _inflated(body, limits)
        case other:
            raise BadAnswer(f"The answer is encoded as {other.decode('latin-1')!r}, which was not asked for.")


def _inflated(body: bytes | bytearray, limits: Limits) -> bytes:
    stream = zlib.decompressobj(wbits=47)  # either header, gzip's or zlib's
    try:
        plain = stream.decompress(body, limits.answer_bytes + 1)
    except zlib.error as error:
        raise BadAnswer(f"The compressed answer is broken: {error}.") from None
    if len(plain) > limits.answer_bytes:
        raise TooLarge(f"The decoded answer is larger than {limits.answer_bytes} bytes.")
    if not stream.eof:
        raise BadAnswer("The compressed answer ends too early.")
    return plain
