"""From an HTTP answer to a reply: is it usable, what did it cost, when may we ask again."""

import email.utils
import math

import msgspec

from batchyard.clock import Clock
from batchyard.domain.result import NO_USAGE, Answer, Failure, Fault, Reply, usage_of
from batchyard.transport.http1 import Received

TEXT_CHARACTERS = 2000
"""How much of an error page is kept."""

_check_json = msgspec.json.Decoder(msgspec.Raw).decode


def reply_of(received: Received, clock: Clock) -> Reply:
    """A 2xx answer must hold a whole JSON object, else it is lost; any other status is the engine's own word."""
    if not 200 <= received.status < 300:
        return _error(received, clock)
    body = received.body
    try:
        if not body.isascii():
            body.decode()
        if body[:1] != b"{" and body.lstrip()[:1] != b"{":
            raise msgspec.DecodeError("it is not a JSON object")
        usage = usage_of(body)
        if usage is NO_USAGE:  # reading may have stopped at a usage of another shape, before the end
            _check_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("bad_answer", f"HTTP {received.status} with an answer that cannot be read: {error}.", Fault.LOST)
    return Answer(received.status, body, request_id_of(received.headers), usage)


def _error(received: Received, clock: Clock) -> Answer:
    return Answer(
        received.status,
        _error_body(received),
        request_id_of(received.headers),
        retry_after_seconds=_retry_after(received, clock),
    )


def _error_body(received: Received) -> bytes:
    """The engine's own JSON, or its text (a proxy's page, a redirect) in the form of an OpenAI error."""
    body = received.body
    if 300 <= received.status < 400:
        return _told(f"The server redirects to {received.header(b'location')!r}: give that URL as the upstream.")
    if not body:
        return b""
    try:
        body.decode()
        _check_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _told(body[: 4 * TEXT_CHARACTERS].decode("utf-8", "replace")[:TEXT_CHARACTERS])
    return body


def _told(message: str) -> bytes:
    error = {"message": message, "type": "server_error", "param": None, "code": None}
    return msgspec.json.encode({"error": error})


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """What the upstream calls this request."""
    return (headers.get(b"x-request-id") or headers.get(b"apim-request-id") or b"").decode("latin-1").strip()


def _retry_after(received: Received, clock: Clock) -> float | None:
    """Seconds that the server asks us to wait: Retry-After in seconds or as a date (RFC 9110, 10.2.3), or in ms."""
    if b"retry-after-ms" in received.headers:
        return _seconds(received.header(b"retry-after-ms"), 0.001)
    if b"retry-after" not in received.headers:
        return None
    value = received.header(b"retry-after")
    seconds = _seconds(value, 1.0)
    return _seconds_until(value, clock) if seconds is None else seconds


def _seconds(value: str, unit: float) -> float | None:
    try:
        seconds = float(value) * unit
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(value: str, clock: Clock) -> float | None:
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - clock.now())
    except (ValueError, OverflowError):
        return None
