"""An answer that is read while it arrives, no further ahead than the reader follows."""

import asyncio
from collections.abc import Callable

from batchyard.transport.http1.encoding import decoded
from batchyard.transport.http1.exchange import HttpError, Limits, Received

AHEAD_BYTES = 256 << 10
"""How much may lie here unread before the other side has to wait."""


class Flow:
    """The body of one answer. `status` and `headers` are known from the start; header names are lower case.

    Filled by its connection, read by one reader.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, hold: Callable[[bool], None]) -> None:
        self.begun: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.size = 0
        self._ended = False
        self._limits = limits
        self._loop = loop
        self._hold = hold
        self._holds = False
        self._pieces: list[bytes] = []
        self._ahead = 0
        self._error: HttpError | None = None
        self._wake: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """What has arrived since the last time, at least a byte; empty at the end. Raises an HttpError."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._wake = self._loop.create_future()
            await self._wake
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._ahead = 0
        self._let_come()
        return data

    async def whole(self) -> Received:
        """All of it at once. Raises an HttpError."""
        pieces: list[bytes] = []
        while piece := await self.read():
            pieces.append(piece)
        headers = dict(self.headers)
        body = decoded(b"".join(pieces), headers.pop(b"content-encoding", b""), self._limits)
        return Received(self.status, headers, bytes(body))

    @property
    def finished(self) -> bool:
        """All has come and all was read."""
        return self._ended and not self._pieces

    # What the connection does

    def begin(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head is there."""
        self.status, self.headers = status, headers
        if not self.begun.done():
            self.begun.set_result(None)

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self.size += len(data)
        self._ahead += len(data)
        if self._ahead > AHEAD_BYTES and not self._holds:
            self._holds = True
            self._hold(True)
        self._stir()

    def end(self) -> None:
        """The answer is whole."""
        self._ended = True
        self._stir()

    def fail(self, error: HttpError) -> None:
        """There will be no more."""
        if not self.begun.done():
            self.begun.set_exception(error)
        elif not self._ended:
            self._error = self._error or error
        self._stir()

    def _let_come(self) -> None:
        if self._holds:
            self._holds = False
            self._hold(False)

    def _stir(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
