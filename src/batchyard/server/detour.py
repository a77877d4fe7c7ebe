"""The detour of a large body: read from its socket by threads, not by the event loop.

The loop only waits until there is something to read. So a gigabyte costs it some hundred turns, and calls that somebody
waits for find it free.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

from starlette.requests import ClientDisconnect, Request

DETOUR = "batchyard.detour"
"""The extension of a call's scope (ASGI) by which a connection offers a detour."""
READ_BYTES = 1 << 20
"""How much is read at once, and written at once behind that."""
TURN_BYTES = 4 << 20
"""How much is read in one turn: enough to be worth its way to a thread, and over before others miss that."""

Begin = Callable[[], AbstractContextManager["Detour | None"]]


def detour_of(request: Request) -> AbstractContextManager["Detour | None"]:
    """The detour of what is left of a call's body, until the end of the block. None where it goes the ordinary way."""
    begin: Begin = request.scope.get("extensions", {}).get(DETOUR, nullcontext)
    return begin()


class Detour:
    """What is left of one body. `kept` had been read already; `left` is how much its socket has yet to bring.

    The event loop calls `ready`, `lose` and `end`; one thread at a time reads.
    """

    def __init__(self, sock: socket.socket, kept: bytes, left: int) -> None:
        self.kept = kept
        self.left = left
        self.gone = False
        self._sock = sock
        self._dry = False
        self._ended = False
        self._lock = Lock()
        self._readable: asyncio.Future[None] | None = None

    @property
    def whole(self) -> bool:
        """Whether all of the body was read."""
        return not self.kept and not self.left

    async def ready(self) -> None:
        """Return once there is enough to read to be worth a turn, or there will be no more."""
        if not self._dry or self.gone:
            return
        loop = asyncio.get_running_loop()
        self._readable = loop.create_future()
        self._wake_at(min(READ_BYTES, self.left))
        loop.add_reader(self._sock, self._settle)
        try:
            await self._readable
        finally:
            loop.remove_reader(self._sock)
            self._readable = None

    def read(self) -> Iterator[bytes]:
        """The next bytes of the body, those that are there, and no more than a turn's. Raises ClientDisconnect."""
        read = 0
        while read < TURN_BYTES and (data := self._next()):
            read += len(data)
            yield data

    def lose(self) -> None:
        """The connection is closed; nothing more will come."""
        self.gone = True
        self._settle()

    def end(self) -> None:
        """No more is read from here on, though a turn may be under way."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._wake_at(1)
                self._sock.close()

    def _next(self) -> bytes:
        """What is there; nothing where more has to come first, or all has come."""
        with self._lock:
            if self._ended or self.whole:
                return b""
            if self.kept:
                kept, self.kept = self.kept, b""
                return kept
            data = self._received()
            self.left -= len(data)
            self._dry = not data
            return data

    def _received(self) -> bytes:
        try:
            data = self._sock.recv(min(READ_BYTES, self.left), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.gone = True
            raise ClientDisconnect
        return data

    def _settle(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def _wake_at(self, size: int) -> None:
        """Have the system wake us only once so much is there: small pieces would cost a turn each.

        Linux makes room for as much, and wakes us before where it cannot; others promise neither.
        """
        if sys.platform == "linux":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
