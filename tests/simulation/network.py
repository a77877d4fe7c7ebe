"""Connections in memory between a client's protocol and a scripted upstream; bytes arrive in order, after a while."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tests.simulation.trace import Trace


class Upstream(Protocol):
    """The far end of connections."""

    def accepts(self, now: float) -> bool: ...

    def connected(self, wire: "Wire") -> None:
        """A client is there. Sets `wire.received` and `wire.lost`."""
        ...


class Network:
    """Upstreams by host and port."""

    def __init__(self, random: Random, trace: Trace) -> None:
        self.random = random
        self.trace = trace
        self.upstreams: dict[tuple[str, int], Upstream] = {}

    async def connect(self, protocol: asyncio.BaseProtocol, host: str, port: int) -> asyncio.Transport:
        await asyncio.sleep(self.latency())
        upstream = self.upstreams.get((host, port))
        loop = asyncio.get_running_loop()
        if upstream is None or not upstream.accepts(loop.time()):
            self.trace.note(f"refused {host}:{port} {loop.time():.6f}")
            raise ConnectionRefusedError(111, "Connection refused")
        wire = Wire(self, loop, protocol)
        protocol.connection_made(wire.transport)
        upstream.connected(wire)
        return wire.transport

    def latency(self) -> float:
        return self.random.uniform(0.0001, 0.003)

    def next_random(self) -> Random:
        """Chance for one connection: what happens on it cannot change the luck of another."""
        return Random(self.random.random())


class Wire:
    """One connection, as the upstream holds it."""

    def __init__(self, network: Network, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        self.transport = WireTransport(self, protocol)
        self.received: Callable[[bytes], None] = lambda _: None
        self.lost: Callable[[], None] = lambda: None
        self.closed = False
        self.loop = loop
        self._random = network.next_random()
        self._next_in = 0.0
        self._next_out = 0.0

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._outwards(lambda: self.transport.arrive(data))

    def close(self) -> None:
        """End the connection in good order, after what was sent."""
        self._outwards(self.transport.arrive_end)
        self.closed = True

    def reset(self) -> None:
        """Break the connection."""
        self._outwards(self.transport.arrive_reset)
        self.closed = True

    def carry(self, data: bytes) -> None:
        """Carry the client's bytes to the upstream."""
        self._next_in = max(self._next_in, self.loop.time() + self._latency())
        self.loop.call_at(self._next_in, self._receive, data)

    def carry_end(self) -> None:
        self._next_in = max(self._next_in, self.loop.time() + self._latency())
        self.loop.call_at(self._next_in, self._lose)

    def _outwards(self, step: Callable[[], None]) -> None:
        if not self.closed:
            self._next_out = max(self._next_out, self.loop.time() + self._latency())
            self.loop.call_at(self._next_out, step)

    def _latency(self) -> float:
        return self._random.uniform(0.0001, 0.003)

    def _receive(self, data: bytes) -> None:
        if not self.closed:
            self.received(data)

    def _lose(self) -> None:
        if not self.closed:
            self.closed = True
            self.lost()


class WireTransport(asyncio.Transport):
    """The same connection, as the client holds it."""

    def __init__(self, wire: Wire, protocol: Any) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._wire = wire
        self._protocol = protocol
        self._closing = False
        self._paused = False
        self._held: list[Callable[[], None]] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._wire.carry(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(None)

    def is_closing(self) -> bool:
        return self._closing

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        held, self._held = self._held, []
        for step in held:
            self._wire.loop.call_soon(step)

    def arrive(self, data: bytes) -> None:
        if not self._holds(lambda: self.arrive(data)):
            self._protocol.data_received(data)

    def arrive_end(self) -> None:
        if not self._holds(self.arrive_end) and not self._protocol.eof_received():
            self._end(None)

    def arrive_reset(self) -> None:
        self._end(ConnectionResetError(104, "Connection reset by peer"))

    def _holds(self, step: Callable[[], None]) -> bool:
        """Whether nothing more may reach the protocol now; while it has paused, the step is kept for later."""
        if self._paused and not self._closing:
            self._held.append(step)
        return self._paused or self._closing

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._wire.carry_end()
            self._wire.loop.call_soon(self._protocol.connection_lost, error)
