"""One interactive call to a model on the OpenAI wire: reading its body, and what an engine's reply is on the wire.

The body goes to the engine as it came, except that `stream` and `stream_options` are taken out: an engine is asked for
a stream in its own way, and what the caller gets of it is decided in `stream`.
"""

import base64
import struct
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from batchyard.dialects.openai import fields as wire
from batchyard.dialects.openai.errors import envelope
from batchyard.dialects.refusal import Refusal
from batchyard.domain.errors import Invalid
from batchyard.domain.result import Answer, Failure, Fault, Reply

EMBEDDINGS = "/v1/embeddings"
REFUSES_US = frozenset({401, 403, 407})
"""What an upstream says to a key of ours."""


class Call(Struct, frozen=True):
    """What is asked of which model. `body` is the engine's, without the wishes about the form of the answer."""

    model: str
    body: bytes
    stream: bool = False
    include_usage: bool = False
    base64_vectors: bool = False


def read_call(endpoint: str, body: bytes, *, model: str | None = None, depth: int = 128) -> Call:
    """Read an inference body. `model`, where the path names one, goes before the body's. Raises Invalid."""
    fields = wire.read_object(body, depth)
    wanted = model or wire.text(fields, "model")
    if not wanted:
        raise Invalid(
            "Missing required parameter: 'model'.", reason="missing_required_parameter", param="model",
            remedy="Name one of the models that GET /v1/models lists.",
        )  # fmt: skip
    stream = wire.boolean(fields, "stream")
    options = wire.mapping(fields, "stream_options") or {}
    changed = fields.keys() & {"stream", "stream_options"} or model
    if changed:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
        fields["model"] = Raw(msgspec.json.encode(wanted))
    return Call(
        model=wanted,
        body=msgspec.json.encode(fields) if changed else body,
        stream=stream,
        include_usage=options.get("include_usage") is True,
        base64_vectors=endpoint == EMBEDDINGS and wire.text(fields, "encoding_format") == "base64",
    )


def named(body: bytes, name: str) -> bytes:
    """The same body, asking for the model by another name."""
    fields = wire.read_object(body, len(body))
    return msgspec.json.encode({**fields, "model": name})


def body_of(answer: Answer, call: Call) -> bytes:
    """The body of an engine's answer, in the form that the call asked for."""
    if answer.ok:
        return _packed(answer.body) if call.base64_vectors else answer.body
    return error_body(answer.body)


def error_body(body: bytes) -> bytes:
    """An engine's error as an envelope: unchanged where it is one, wrapped where it is anything else."""
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return envelope(body.decode(errors="replace") or "The engine gave no reason.", "server_error", None, None)
    given: Any = cast("dict[str, Any]", value).get("error") if isinstance(value, dict) else None
    if isinstance(given, dict):
        error = cast("dict[str, Any]", given)
        whole = {"message": "", "type": "invalid_request_error", "param": None, "code": None} | error
        return msgspec.json.encode({"error": whole})
    if isinstance(given, str):
        return envelope(given, "server_error", None, None)
    return envelope(body.decode(errors="replace"), "server_error", None, None)


def broken_off(reply: Reply) -> bytes:
    """Why an answer ended in the middle, as an envelope."""
    if isinstance(reply, Failure):
        return refused(reply).body
    if reply.status in REFUSES_US:
        return refused_upstream(reply.status).body
    return error_body(reply.body)


def refused_upstream(status: int) -> Refusal:
    """An upstream refused our key: that is no fault of the caller's key, and asking again cannot help."""
    message = f"The model's upstream refused our credentials with status {status}. Ask who runs this server."
    return Refusal(502, envelope(message, "server_error", None, "upstream_refused"), heals=False)


_STATUS = {Fault.FINAL: 500, Fault.LOST: 502, Fault.CRASHED: 502, Fault.DOWN: 503, Fault.OVERLOADED: 503}


def refused(failure: Failure) -> Refusal:
    """There is no answer: why, and whether to ask again."""
    status = 504 if failure.code == "request_timeout" else _STATUS.get(failure.fault, 503)
    return Refusal(
        status,
        envelope(failure.message, "server_error", None, failure.code),
        heals=False if failure.fault is Fault.FINAL else None,
        retry_after_seconds=failure.retry_after_seconds or (1 if status == 503 else None),
    )


def _packed(body: bytes) -> bytes:
    """Vectors as base64 of little-endian float32: clients ask for that by default, and some read nothing else."""
    value = cast("dict[str, Any]", msgspec.json.decode(body))
    for entry in cast("list[dict[str, Any]]", value.get("data") or []):
        vector = entry.get("embedding")
        if isinstance(vector, list):
            numbers = cast("list[float]", vector)
            entry["embedding"] = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return msgspec.json.encode(value)
