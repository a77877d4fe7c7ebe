"""What is said between an engine and its worker process: kinds of frames, and their values as MessagePack.

    engine                          worker
    LOAD    its configuration  -->
                               <--  LOADED   Abilities, or REFUSED  Refusal
    INFER   Request, or STREAM -->
    CANCEL                     -->
                               <--  PIECE    bytes, any number after STREAM
                               <--  ANSWER   Answer, or FAILURE  Failure

INFER, STREAM, CANCEL, PIECE, ANSWER and FAILURE carry the number of the call. A PIECE is what `engine.Say` takes.
"""

from enum import IntEnum

import msgspec
from msgspec import Struct

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure
from batchyard.engine import Abilities


class Kind(IntEnum):
    LOAD = 1
    LOADED = 2
    REFUSED = 3
    INFER = 4
    CANCEL = 5
    ANSWER = 6
    FAILURE = 7
    STREAM = 8
    PIECE = 9


class Refusal(Struct, frozen=True):
    """Why a worker cannot serve; starting it again would not help."""

    message: str
    remedy: str = ""


encode = msgspec.msgpack.encode
read_abilities = msgspec.msgpack.Decoder(Abilities).decode
read_refusal = msgspec.msgpack.Decoder(Refusal).decode
read_request = msgspec.msgpack.Decoder(Request).decode
read_answer = msgspec.msgpack.Decoder(Answer).decode
read_failure = msgspec.msgpack.Decoder(Failure).decode
