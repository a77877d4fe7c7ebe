"""What an exchange is: the answer, its limits, and the ways in which there is none.

HttpError
  ConnectFailed    no connection: the request was never sent
  Lost             the request was sent (perhaps in part) and the connection broke before the answer was whole
    Stale          the same, on a kept connection that gave no sign of life: most likely closed before we wrote
  BadAnswer        what came back is not HTTP, or not an answer to one request
    TooLarge       the answer passes a limit
"""

from msgspec import Struct


class HttpError(Exception):
    """No usable answer; the message says why and holds nothing secret."""


class ConnectFailed(HttpError):
    """`local` where this machine, not the other side, is the reason (no file descriptor left)."""

    def __init__(self, message: str, *, local: bool = False, certificate: bool = False) -> None:
        super().__init__(message)
        self.local = local
        self.certificate = certificate


class Lost(HttpError):
    pass


class Stale(Lost):
    pass


class BadAnswer(HttpError):
    pass


class TooLarge(BadAnswer):
    pass


class Limits(Struct, frozen=True):
    """Bytes that an answer may have: its body once decoded, and whatever comes without any body (heads, trailers)."""

    answer_bytes: int = 256 << 20
    header_bytes: int = 64 << 10


class Received(Struct, frozen=True, gc=False):
    """A whole answer. Header names are lower case; of a repeated header the last one is kept."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def header(self, name: bytes) -> str:
        """The value of a header as text; empty where it is absent."""
        return self.headers.get(name, b"").decode("latin-1").strip()
