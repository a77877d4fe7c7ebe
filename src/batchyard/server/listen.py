"""Listening on a socket until told to stop, then answering what is under way."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from batchyard.domain.errors import Unavailable
from batchyard.server.connection import Connection

BACKLOG = 2048
LAST_WORDS_SECONDS = 2.0


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Calls wait in it until `serve` runs. Raises Unavailable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Unavailable(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.", remedy="Choose another --host or --port."
        ) from None
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


async def serve(app: ASGIApp, sock: socket.socket, stop: asyncio.Event, *, grace_seconds: int = 30) -> None:
    """Answer calls until `stop` is set; then take no new ones, and give those under way `grace_seconds`."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace_seconds,
    )
    server = _Server(config, stop)
    await server.serve(sockets=[sock])
    if cancelled := tuple(server.server_state.tasks):  # their time is up: let them say so
        await asyncio.wait(cancelled, timeout=LAST_WORDS_SECONDS)


class _Server(uvicorn.Server):
    """Leaves signals to whoever started us, and sleeps until it is told to stop: an idle server costs nothing."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        await self._stop.wait()
