"""Large bodies that pass the event loop by, over real sockets, on both event loops.

Whatever callers do, a connection is afterwards where it would be without.
"""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from random import Random
from typing import Any

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from batchyard.blob import Put
from batchyard.server import connection
from batchyard.server.body import pour
from batchyard.server.detour import READ_BYTES, TURN_BYTES, Detour, detour_of
from batchyard.server.listen import bind, serve
from tests.support.processes import until
from tests.support.serving import Answered, read_answer

BODY = Random(1).randbytes((9 << 20) + 17)
Scenario = Callable[["Door"], Coroutine[Any, Any, None]]

LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]


class Full(Exception):
    """The sink takes no more."""


class Door:
    """A server whose only call pours its body away and tells its hash. It counts bytes and turns."""

    def __init__(self) -> None:
        self.room_bytes = 1 << 40
        self.port = 0
        self.taken = 0
        self.turns = 0
        self.gone = 0
        self.stop = asyncio.Event()

    async def take(self, request: Request) -> Response:
        sink = Sink(self)
        try:
            await pour(request, sink)
        except Full:
            return PlainTextResponse("full", 413)
        except ClientDisconnect:
            self.gone += 1
            raise
        return PlainTextResponse(sink.hash.hexdigest())

    async def wander(self, request: Request) -> Response:
        """Take the detour again and again, and leave it before it begins, or after a turn."""
        whole, way = hashlib.sha256(), cycle((0, 1, 1, 0, 2))
        async for chunk in request.stream():
            whole.update(chunk)
            with detour_of(request) as rest:
                for _ in range(next(way) if rest is not None else 0):
                    assert rest is not None
                    self.turns += 1
                    for data in rest.read():
                        whole.update(data)
        return PlainTextResponse(whole.hexdigest())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


class Sink:
    """Takes bytes as a file does: some from the loop, the rest from threads."""

    def __init__(self, door: Door) -> None:
        self.hash = hashlib.sha256()
        self._door = door

    async def write(self, data: bytes) -> None:
        self._take(data)

    async def fill(self, step: Callable[[Put], None]) -> None:
        self._door.turns += 1
        await asyncio.to_thread(step, self._take)

    def _take(self, data: bytes) -> None:
        self._door.taken += len(data)
        if self._door.taken > self._door.room_bytes:
            raise Full
        self.hash.update(data)


@asynccontextmanager
async def serving(door: Door, grace_seconds: int = 5) -> AsyncGenerator[None]:
    calls = [Route("/pour", door.take, methods=["POST"]), Route("/wander", door.wander, methods=["POST"])]
    app = Starlette(routes=calls)
    sock = bind("127.0.0.1", 0)
    door.port = sock.getsockname()[1]
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, sock, door.stop, grace_seconds=grace_seconds))
        yield
        door.stop.set()


def play(loop: Callable[[], asyncio.AbstractEventLoop], scenario: Scenario) -> None:
    async def main() -> None:
        door = Door()
        async with asyncio.timeout(60), serving(door):
            await scenario(door)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def head(length: int, *fields: str, path: str = "/pour") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: t", f"content-length: {length}", *fields, "", ""]
    return "\r\n".join(lines).encode()


async def send(writer: asyncio.StreamWriter, *pieces: bytes) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()


def is_hash(answered: Answered, body: bytes = BODY) -> bool:
    return answered[0] == 200 and answered[2] == hashlib.sha256(body).hexdigest().encode()


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_large_body_comes_whole_and_takes_few_turns_of_the_loop(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        for _ in range(3):  # on one connection
            await send(writer, head(len(BODY)), BODY)
            assert is_hash(await read_answer(reader))
        assert door.turns > 0 and door.taken == 3 * len(BODY)
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_follows_the_body_is_the_next_call(loop: Any) -> None:
    """The bytes of the next calls are there already while the body is read elsewhere."""

    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        small = b"small"
        calls = head(len(BODY)) + BODY + head(5) + small + head(len(BODY)) + BODY + head(0, path="/nowhere")
        writer.write(calls)
        assert is_hash(await read_answer(reader))
        assert is_hash(await read_answer(reader), small)
        assert is_hash(await read_answer(reader))
        assert (await read_answer(reader))[0] == 404
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_body_may_leave_its_detour_at_any_place_and_take_another(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        for _ in range(2):
            await send(writer, head(len(BODY), path="/wander"))
            await send(writer, *(BODY[start : start + 300_001] for start in range(0, len(BODY), 300_001)))
            assert is_hash(await read_answer(reader))
        assert door.turns > 2
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_slow_body_waits_and_holds_nobody_up(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        await send(writer, head(len(BODY)))
        came = 0
        for size in (100, 1 << 20, 1, 2 << 20, 70_000, 1 << 20):
            await send(writer, BODY[came : came + size])
            came += size
            other = await door.connect()
            await send(other[1], head(5), b"other")
            assert is_hash(await read_answer(other[0]), b"other")
            await leave(other[1])
        await send(writer, BODY[came:])
        assert is_hash(await read_answer(reader))
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_many_bodies_at_once_do_not_mix(loop: Any) -> None:
    async def one(door: Door, seed: int) -> bool:
        body = Random(seed).randbytes((2 << 20) + seed)
        reader, writer = await door.connect()
        await send(writer, head(len(body)), body)
        found = is_hash(await read_answer(reader), body)
        await leave(writer)
        return found

    async def scenario(door: Door) -> None:
        assert all(await asyncio.gather(*(one(door, seed) for seed in range(30))))
        assert door.turns >= 30

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("sent", [READ_BYTES // 2, len(BODY) // 2, len(BODY) - 1])
@pytest.mark.parametrize("how", ["close", "half", "reset"])
def test_who_hangs_up_in_the_middle_is_gone(loop: Any, sent: int, how: str) -> None:
    async def scenario(door: Door) -> None:
        sock = socket.create_connection(("127.0.0.1", door.port))
        with sock:
            await asyncio.to_thread(sock.sendall, head(len(BODY)) + BODY[:sent])
            await until(lambda: door.taken >= sent - 2 * READ_BYTES)
            if how == "half":
                sock.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(sock.recv, 1) == b""  # nobody answers half a call
            elif how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: door.gone == 1)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("room", [1, 100_000, 5 << 20])
def test_a_call_that_is_refused_in_the_middle_leaves_its_connection_in_order(loop: Any, room: int) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        door.room_bytes = room
        async with asyncio.TaskGroup() as group:
            group.create_task(send(writer, head(len(BODY)), BODY))  # the rest is read and dropped
            assert (await read_answer(reader))[0] == 413
        door.room_bytes = 1 << 40
        await send(writer, head(len(BODY)), BODY)
        assert is_hash(await read_answer(reader))
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_body_longer_than_it_was_announced_to_be_is_no_next_call(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        await send(writer, head(len(BODY)), BODY, b"surplus\r\n\r\n")
        assert is_hash(await read_answer(reader))
        assert (await read_answer(reader))[0] == 400
        assert await reader.read() == b""
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_that_shall_close_closes(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        for fields in (["connection: close"], []):
            reader, writer = await door.connect()
            call = head(len(BODY), *fields)
            await send(writer, call if fields else call.replace(b"HTTP/1.1", b"HTTP/1.0"), BODY)
            answered = await read_answer(reader)
            assert is_hash(answered) and answered[1]["connection"] == "close"
            assert await reader.read() == b""
            await leave(writer)
        assert door.turns

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_waits_to_be_asked_for_the_body_is_asked(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        await send(writer, head(len(BODY), "expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await send(writer, BODY)
        assert is_hash(await read_answer(reader))
        assert door.turns
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_body_of_unknown_length_and_a_small_one_go_the_ordinary_way(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        chunks = (BODY[start : start + 100_000] for start in range(0, len(BODY), 100_000))
        await send(writer, b"POST /pour HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
        await send(writer, *(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n")
        assert is_hash(await read_answer(reader))
        small = BODY[: connection.DETOUR_BYTES]
        await send(writer, head(len(small)), small[:100])
        await until(lambda: door.taken > len(BODY))
        await send(writer, small[100:])
        assert is_hash(await read_answer(reader), small)
        assert door.turns == 0
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_waits_for_a_body_under_way(loop: Any) -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.connect()
        await send(writer, head(len(BODY)), BODY[: 4 << 20])
        await until(lambda: door.turns > 0)
        door.stop.set()
        await send(writer, BODY[4 << 20 :])
        answered = await read_answer(reader)
        assert is_hash(answered) and answered[1]["connection"] == "close"
        assert await reader.read() == b""
        await leave(writer)

    play(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_ends_a_body_that_does_not_come(loop: Any) -> None:
    async def main() -> None:
        door = Door()
        async with asyncio.timeout(60):
            async with serving(door, grace_seconds=0):
                reader, writer = await door.connect()
                await send(writer, head(len(BODY)), BODY[: 4 << 20])
                await until(lambda: door.turns > 0)
            with suppress(ConnectionResetError):  # some of the body was never read
                assert (await reader.read())[:13] in (b"", b"HTTP/1.1 500 ")
            writer.transport.abort()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@asynccontextmanager
async def a_detour(kept: bytes, left: int) -> AsyncGenerator[tuple[Detour, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        detour = Detour(ours, kept, left)
        try:
            yield detour, theirs
        finally:
            detour.end()


async def test_a_turn_reads_what_is_there_and_no_more_than_a_turn() -> None:
    async with a_detour(b"kept", 2 * TURN_BYTES) as (detour, theirs):
        assert list(detour.read()) == [b"kept"]
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(theirs.sendall, bytes(2 * TURN_BYTES)))
            while not detour.whole:
                await detour.ready()
                assert sum(map(len, detour.read())) < TURN_BYTES + READ_BYTES
        await detour.ready()
        assert list(detour.read()) == []


async def test_no_byte_behind_the_body_is_read() -> None:
    async with a_detour(b"", 5) as (detour, theirs):
        theirs.sendall(b"12345next")
        assert b"".join(detour.read()) == b"12345" and detour.whole
        copy = socket.fromfd(detour._sock.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)  # pyright: ignore[reportPrivateUsage]
        with copy:
            assert copy.recv(100) == b"next"


async def test_after_its_end_a_turn_under_way_reads_nothing_more() -> None:
    async with a_detour(b"", 5 * READ_BYTES) as (detour, theirs):
        theirs.setblocking(False)
        theirs.send(bytes(100_000))
        turn = detour.read()
        first = next(turn)
        detour.end()
        assert list(turn) == [] and detour.left == 5 * READ_BYTES - len(first)


async def test_a_lost_connection_ends_the_waiting() -> None:
    async with a_detour(b"", 5) as (detour, _), asyncio.timeout(10), asyncio.TaskGroup() as group:
        assert list(detour.read()) == []
        waiting = group.create_task(detour.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        detour.lose()
        await waiting
        await detour.ready()
        assert detour.gone
