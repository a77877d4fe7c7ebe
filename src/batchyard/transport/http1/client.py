"""Connections to one origin: kept, reused, replaced."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from batchyard.transport.http1.address import Address
from batchyard.transport.http1.connection import Connection
from batchyard.transport.http1.exchange import ConnectFailed, Limits, Received, Stale
from batchyard.transport.http1.flow import Flow
from batchyard.transport.http1.tls import tls_context

IDLE_SECONDS = 20.0
"""A connection that has been idle for longer is not trusted: something on the way may have forgotten it silently."""


class Client:
    """Exchanges with one origin, side by side, each on a connection of its own.

    Nothing here queues: how many exchanges there are is the caller's decision, and over `most_connections` they fail
    as they would without a file descriptor, only before descriptors run out for others. Cancelling an exchange closes
    its connection, because the answer to a given-up request must not be taken for the next one's.

    `connect_to` is an IP address that is connected to in place of asking where the address's host is.
    """

    def __init__(
        self,
        address: Address,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        connect_timeout_seconds: float = 10.0,
        most_connections: int = 1 << 16,
        connect_to: str | None = None,
    ) -> None:
        self._address = address
        self._connect_to = connect_to or address.host
        self._tls = (tls or tls_context()) if address.tls else None
        self._limits = limits or Limits()
        self._connect_timeout_seconds = connect_timeout_seconds
        self._most_connections = most_connections
        self._connecting = 0
        self._idle: list[Connection] = []
        self._live: set[Connection] = set()
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None

    async def exchange(self, head: bytes, body: bytes | None = None) -> Received:
        """Send a request and return its whole answer; raises an HttpError.

        `head` comes from `request_head`; Content-Length is added for a body. A kept connection that turns out to be
        dead costs nothing: the request goes out once more, at once, on a new one.
        """
        kept = self._kept()
        if kept is not None:
            try:
                return await self._exchange_on(kept, head, body)
            except Stale:
                pass
        return await self._exchange_on(await self._connect(), head, body)

    @asynccontextmanager
    async def flow(self, head: bytes, body: bytes) -> AsyncGenerator[Flow]:
        """Send a request and read its answer while it comes; raises an HttpError, here or where it is read.

        An answer that was not read to its end closes its connection, which tells the other side to stop.
        """
        connection, flow = await self._begun_flow(head, body)
        try:
            yield flow
        finally:
            if flow.finished and connection.open:
                self._keep(connection)
            else:
                connection.abort()

    async def _begun_flow(self, head: bytes, body: bytes) -> tuple[Connection, Flow]:
        kept = self._kept()
        if kept is not None:
            try:
                return kept, await _begun(kept, head, body)
            except Stale:
                pass
        connection = await self._connect()
        return connection, await _begun(connection, head, body)

    async def close(self) -> None:
        """Close every connection; exchanges under way are lost."""
        self._closed = True
        for connection in tuple(self._live):
            connection.abort()
        if self._live and self._emptied is None:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    async def _exchange_on(self, connection: Connection, head: bytes, body: bytes | None) -> Received:
        try:
            received = await connection.send(head, body)
        except BaseException:
            connection.abort()
            raise
        if connection.open:
            self._keep(connection)
        else:
            connection.abort()
        return received

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def _kept(self) -> Connection | None:
        """The connection used last that still lives: the others can age and go."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.open:
                continue
            if asyncio.get_running_loop().time() - connection.idle_since <= IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        if self._closed:
            raise ConnectFailed("The client is closed.")
        if len(self._live) + self._connecting >= self._most_connections:
            raise ConnectFailed(f"{self._most_connections} connections are open, and no more can be.", local=True)
        self._connecting += 1
        try:
            connection = await self._new_connection()
        finally:
            self._connecting -= 1
        if self._closed or not connection.open:
            connection.abort()
            raise ConnectFailed(f"{self._address.origin} closed the connection before anything was sent.")
        self._live.add(connection)
        return connection

    async def _new_connection(self) -> Connection:
        loop, address = asyncio.get_running_loop(), self._address
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._limits, self._forget),
                    self._connect_to,
                    address.port,
                    ssl=self._tls,
                    server_hostname=address.host if self._tls else None,
                )
        except TimeoutError:
            message = f"{address.origin} took no connection within {self._connect_timeout_seconds:g} s."
            raise ConnectFailed(message) from None
        except OSError as error:
            raise _connect_failed(address, error) from error
        return connection

    def _forget(self, connection: Connection) -> None:
        self._live.discard(connection)
        if not self._live and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)


async def _begun(connection: Connection, head: bytes, body: bytes) -> Flow:
    """Send, and wait for the head of the answer."""
    flow = connection.send_for_flow(head, body)
    try:
        await flow.begun
    except BaseException:
        connection.abort()
        raise
    return flow


def _connect_failed(address: Address, error: OSError) -> ConnectFailed:
    local = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
    certificate = isinstance(error, ssl.SSLCertVerificationError)
    message = f"{address.origin} could not be reached: {_reason(error)}."
    return ConnectFailed(message, local=local, certificate=certificate)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, (ssl.SSLError, socket.gaierror)) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)
