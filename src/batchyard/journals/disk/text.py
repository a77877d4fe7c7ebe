"""A result as one line of text, and back."""

from base64 import b64decode, b64encode
from typing import Final

import msgspec
from msgspec import Struct

from batchyard.domain.result import Answer, Failure, Fault, Outcome, Result, Usage

_NAMES: Final = {outcome: outcome.name.lower().encode() for outcome in Outcome}
_OUTCOMES: Final = {outcome.name.lower(): outcome for outcome in Outcome}
_FAULTS: Final = {fault.name.lower(): fault for fault in Fault}

_LINE: Final = (
    b'{"line":%d,"custom_id":%b,"outcome":"%b","status":%d,"request_id":%b,"attempts":%d,"seconds":%.6f,'
    b'"usage":[%d,%d,%d,%d],"failure":%b,"body":%b}\n'
)
_BODY: Final = b',"body":'  # found nowhere before the body: inside a string its first quote would be escaped
_RAW: Final = b'null,"raw":'
_BASE64: Final = b'null,"base64":'

_encode_text = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode
_check = msgspec.json.Decoder(msgspec.Raw).decode


class _Failure(Struct, gc=False):
    code: str
    message: str
    fault: str


class _Head(Struct, gc=False):
    line: int
    custom_id: str | None
    outcome: str
    status: int
    request_id: str
    attempts: int
    seconds: float
    usage: tuple[int, int, int, int]
    failure: _Failure | None


_decode_head = msgspec.json.Decoder(_Head).decode


def encode(result: Result) -> bytes:
    """The line of a result, with its newline; never more than one, whatever the engine sent."""
    reply = result.reply
    name = _NAMES[result.outcome]
    custom_id = _encode_text(result.custom_id)
    if isinstance(reply, Failure):
        failure = _encode_text(_Failure(reply.code, reply.message, reply.fault.name.lower()))
        head = (result.line, custom_id, name, 0, b'""', result.attempts, result.seconds)
        return _LINE % (*head, 0, 0, 0, 0, failure, b"null")
    usage = reply.usage
    return _LINE % (
        result.line,
        custom_id,
        name,
        reply.status,
        _encode_text(reply.request_id),
        result.attempts,
        result.seconds,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        b"null",
        _encode_body(reply.body),
    )


def decode(line: bytes) -> Result:
    """The result of a line that `encode` wrote. Raises ValueError for anything else."""
    end = line.index(_BODY)
    head = _decode_head(line[:end] + b"}")
    reply = Answer(head.status, _decode_body(line, end + len(_BODY)), head.request_id, Usage(*head.usage))
    if head.failure is not None:
        failure = head.failure
        reply = Failure(failure.code, failure.message, _FAULTS[failure.fault])
    return Result(head.line, head.custom_id, _OUTCOMES[head.outcome], reply, head.attempts, head.seconds)


def _encode_body(body: bytes) -> bytes:
    if b"\n" not in body and b"\r" not in body and body != b"null":
        try:
            _check(body)
            if not body.isascii():
                body.decode()  # the JSON check alone lets broken UTF-8 in strings pass
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return body
    return _wrap_body(body)


def _wrap_body(body: bytes) -> bytes:
    if not body:
        return b"null"
    try:
        return _RAW + _encode_text(body.decode())
    except UnicodeDecodeError:
        return b'%b"%b"' % (_BASE64, b64encode(body))


def _decode_body(line: bytes, start: int) -> bytes:
    if line.startswith(_RAW, start):
        return _decode_text(line[start + len(_RAW) : -2]).encode()
    if line.startswith(_BASE64, start):
        return b64decode(line[start + len(_BASE64) + 1 : -3])
    body = line[start:-2]
    return b"" if body == b"null" else body
