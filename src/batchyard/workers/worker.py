"""One living worker process and the requests on board of it."""

import asyncio
from collections.abc import Mapping

from batchyard.domain.errors import Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Failure, Fault, Reply
from batchyard.engine import Abilities, Say
from batchyard.transport.child import Child, Exit
from batchyard.transport.frames import Frame
from batchyard.workers.wire import (
    Kind,
    encode,
    read_abilities,
    read_answer,
    read_failure,
    read_refusal,
)

LAST_LINES = 12
"""How many of the worker's last lines an error message shows."""


class Crashed(Exception):
    """The worker died while it loaded; another try may do better."""


class Worker:
    """A worker process. It lives until `close`, or until it dies: then all requests on board fail as crashed."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._loaded: asyncio.Future[Abilities] = asyncio.get_running_loop().create_future()
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._streams: dict[int, asyncio.Queue[bytes | Reply]] = {}
        self._last = 0
        self._closing = False
        self.answered = 0
        self.abilities = Abilities(endpoints=frozenset(), models=None)

    async def load(self, module: str, config: bytes, environment: Mapping[str, str]) -> None:
        """Start the process and let it load its model. Raises Unavailable where it refuses, Crashed where it dies."""
        try:
            self._child = await Child.spawn(module, on_frame=self._heard, on_exit=self._exited, environment=environment)
        except OSError as error:
            raise Crashed(f"the worker process could not be started: {error}") from error
        try:
            if self._closing:
                raise Crashed("the worker was closed while it started")
            self._child.send(Frame(0, Kind.LOAD, config))
            self.abilities = await self._loaded
        except Unavailable as refusal:
            await self._end()
            raise Unavailable(f"{refusal.message}{_words(self._child.output)}", remedy=refusal.remedy) from None
        except BaseException:
            await self._end()
            raise

    async def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            await self._child.close()

    @property
    def pid(self) -> int:
        return 0 if self._child is None else self._child.pid

    @property
    def gone(self) -> bool:
        return self._child is None or self._child.gone

    async def answer(self, request: Request) -> Reply:
        """Ask and wait. Cancelling the call tells the worker to give the request up."""
        assert self._child is not None
        number = self._next_number()
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[number] = waiting
        self._child.send(Frame(number, Kind.INFER, encode(request)))
        try:
            return await waiting
        except asyncio.CancelledError:
            self._child.send(Frame(number, Kind.CANCEL))
            raise
        finally:
            self._calls.pop(number, None)

    async def stream(self, request: Request, say: Say) -> Reply:
        """Ask, and say the pieces as they come. Pieces wait here where `say` is slow: at most one answer's."""
        assert self._child is not None
        number = self._next_number()
        heard = self._streams[number] = asyncio.Queue[bytes | Reply]()
        self._child.send(Frame(number, Kind.STREAM, encode(request)))
        try:
            while isinstance(piece := await heard.get(), bytes):
                await say(piece)
            return piece
        except BaseException:
            self._child.send(Frame(number, Kind.CANCEL))
            raise
        finally:
            self._streams.pop(number, None)

    async def close(self) -> None:
        self._closing = True
        if self._child is None:
            return
        if self._loaded.done():
            await self._child.close()
        else:
            await self._end()

    def _heard(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.LOADED | Kind.REFUSED if self._loaded.done():
                return
            case Kind.LOADED:
                self._loaded.set_result(read_abilities(frame.data))
            case Kind.REFUSED:
                refusal = read_refusal(frame.data)
                self._loaded.set_exception(Unavailable(refusal.message, remedy=refusal.remedy))
            case Kind.PIECE:
                if (heard := self._streams.get(frame.number)) is not None:
                    heard.put_nowait(frame.data)
            case Kind.ANSWER:
                self._settle(frame.number, read_answer(frame.data))
            case _:
                self._settle(frame.number, read_failure(frame.data))

    def _next_number(self) -> int:
        self._last += 1
        return self._last

    def _settle(self, number: int, reply: Reply) -> None:
        self.answered += 1
        if (heard := self._streams.get(number)) is not None:
            heard.put_nowait(reply)
        waiting = self._calls.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def _exited(self, end: Exit) -> None:
        if not self._loaded.done():
            self._loaded.set_exception(Crashed(_told(end)))
        last = f" Its last words: {end.output.splitlines()[-1]}" if end.output else ""
        told = f"The engine's process {end.reason} with this request on board.{last}"
        failure = Failure("engine_crashed", told, Fault.CRASHED)
        for waiting in self._calls.values():
            if not waiting.done():
                waiting.set_result(failure)
        for heard in self._streams.values():
            heard.put_nowait(failure)


def _told(end: Exit) -> str:
    return f"the worker process {end.reason} while it loaded.{_words(end.output)}"


def _words(output: str) -> str:
    """The end of what a worker printed, to be added to a message."""
    lines = output.splitlines()[-LAST_LINES:]
    return "\nIts last words:\n" + "\n".join(lines) + "\n" if lines else ""
