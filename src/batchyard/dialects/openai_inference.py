"""One interactive call to a model on the OpenAI wire: reading its body, and what an engine's reply is on the wire.

The body goes to the engine as it came, except that `stream` and `stream_options` are taken out: the answer comes whole
and is told as a stream afterwards (`openai_stream`).
"""

import base64
import struct
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from batchyard.dialects.openai_errors import Refusal, envelope
from batchyard.domain.errors import Invalid
from batchyard.domain.result import Answer, Failure, Fault

EMBEDDINGS = "/v1/embeddings"

_OPENERS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


class Call(Struct, frozen=True):
    """What is asked of which model. `body` is the engine's, without the wishes about the form of the answer."""

    model: str
    body: bytes
    stream: bool = False
    include_usage: bool = False
    base64_vectors: bool = False


def read_call(endpoint: str, body: bytes, *, model: str | None = None, depth: int = 128) -> Call:
    """Read an inference body. `model`, where the path names one, goes before the body's. Raises Invalid."""
    fields = read_object(body, depth)
    wanted = model or _text(fields, "model")
    if wanted is None:
        raise Invalid(
            "Missing required parameter: 'model'.", reason="missing_required_parameter", param="model",
            remedy="Name one of the models that GET /v1/models lists.",
        )  # fmt: skip
    stream = _boolean(fields, "stream")
    options = _options(fields)
    changed = fields.keys() & {"stream", "stream_options"} or ("model" not in fields or model)
    if changed:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
        fields["model"] = Raw(msgspec.json.encode(wanted))
    return Call(
        model=wanted,
        body=msgspec.json.encode(fields) if changed else body,
        stream=stream,
        include_usage=options.get("include_usage") is True,
        base64_vectors=endpoint == EMBEDDINGS and _text(fields, "encoding_format") == "base64",
    )


def read_object(body: bytes, depth: int) -> dict[str, Raw]:
    """The fields of a JSON object, unread. Raises Invalid where the body is anything else, or nested too deeply."""
    if too_deep(body, depth):
        raise Invalid(f"The body of your request is nested deeper than {depth} levels.", remedy="Send a flatter body.")
    try:
        if not body.isascii():
            body.decode()
        return _decode_object(body)
    except msgspec.ValidationError:
        raise Invalid("The body of your request is not a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"We could not parse the JSON body of your request: {error}.") from None


def too_deep(body: bytes, depth: int) -> bool:
    """Whether brackets nest deeper than `depth`. Brackets inside strings count too, so only suspects are looked at."""
    brackets = body.translate(_ONE_KIND, _OPENERS)
    if brackets.count(b"[") <= depth:
        return False
    return _height(_outside_strings(body).translate(_ONE_KIND, _OPENERS), depth) > depth


def _outside_strings(body: bytes) -> bytes:
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(plain.split(b'"')[::2])


def _height(brackets: bytes, limit: int) -> int:
    """The nesting of brackets, up to `limit` + 1: taking all innermost pairs away lowers it by exactly one."""
    for height in range(limit + 1):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return height  # none left, or unbalanced: then the parser will say so
        brackets = shorter
    return limit + 1


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


def _text(fields: dict[str, Raw], name: str) -> str | None:
    value = _value(fields, name)
    if value is None or isinstance(value, str):
        return value or None
    raise _wrong_type(name, "a string")


def _boolean(fields: dict[str, Raw], name: str) -> bool:
    value = _value(fields, name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _wrong_type(name, "a boolean")


def _options(fields: dict[str, Raw]) -> dict[str, Any]:
    value = _value(fields, "stream_options")
    if value is None or isinstance(value, dict):
        return cast("dict[str, Any]", value or {})
    raise _wrong_type("stream_options", "an object")


def _value(fields: dict[str, Raw], name: str) -> Any:
    raw = fields.get(name)
    return None if raw is None else msgspec.json.decode(raw)


def _wrong_type(name: str, expected: str) -> Invalid:
    return Invalid(f"Invalid type for '{name}': expected {expected}.", reason="invalid_type", param=name)
