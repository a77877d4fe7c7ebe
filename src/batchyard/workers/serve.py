"""The worker process's main loop: take calls from the engine, hand them to the model, send replies back."""

import os
import traceback
from collections.abc import Callable
from typing import Protocol

from batchyard.domain.errors import BatchyardError
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from batchyard.engine import Abilities
from batchyard.transport.frames import Frame
from batchyard.transport.parent import Parent
from batchyard.workers.wire import Kind, Refusal, encode, read_request


class Call:
    """One request on board. It is answered once, from any thread; `given_up` once nobody waits for it any more.

    `say` takes pieces of the answer before its end, from one thread at a time; None where it is wanted whole.
    """

    def __init__(
        self, request: Request, send: Callable[[Reply], None], say: Callable[[bytes], None] | None = None
    ) -> None:
        self.request = request
        self.given_up = False
        self.say = say
        self._send = send

    def answer(self, reply: Reply) -> None:
        self._send(reply)


class Model(Protocol):
    """A loaded model."""

    abilities: Abilities

    def take(self, call: Call) -> None:
        """Take a call on board without waiting for its answer. It must be answered, unless it is given up."""
        ...


def serve(load: Callable[[bytes], Model]) -> None:
    """Serve the parent until it hangs up. `load` raises BatchyardError where the model cannot be served."""
    parent = Parent.attach()
    try:
        _serve(parent, load)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _serve(parent: Parent, load: Callable[[bytes], Model]) -> None:
    first = parent.receive()
    if first is None:
        return
    try:
        model = load(first.data)
    except BatchyardError as error:
        parent.send(Frame(0, Kind.REFUSED, encode(Refusal(error.message, error.remedy))))
        parent.receive()
        return
    parent.send(Frame(0, Kind.LOADED, encode(model.abilities)))
    _take_calls(parent, model)
    # While the model is still held: nothing needs saving, and llama.cpp's destructor can wait for ever for its threads.
    os._exit(0)


def _take_calls(parent: Parent, model: Model) -> None:
    on_board: dict[int, Call] = {}

    def take(number: int, data: bytes, *, streams: bool) -> None:
        def send(reply: Reply) -> None:
            if on_board.pop(number, None) is not None:
                kind = Kind.ANSWER if isinstance(reply, Answer) else Kind.FAILURE
                parent.send(Frame(number, kind, encode(reply)))

        def say(piece: bytes) -> None:
            parent.send(Frame(number, Kind.PIECE, piece))

        call = on_board[number] = Call(read_request(data), send, say if streams else None)
        model.take(call)

    while (frame := parent.receive()) is not None:
        if frame.kind in (Kind.INFER, Kind.STREAM):
            take(frame.number, frame.data, streams=frame.kind == Kind.STREAM)
        elif frame.kind == Kind.CANCEL and (given_up := on_board.pop(frame.number, None)) is not None:
            given_up.given_up = True
