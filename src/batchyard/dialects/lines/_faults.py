"""What is wrong with a line, found step by step, in the order of the OpenAI service; the first fault is told.

JSON, object, keys present, types of keys, method, url, stream, model, required field, types of fields. (A repeated
custom_id comes before the method; only who sees all lines can know it.)
"""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from batchyard.dialects.lines._rules import MOST_LEVELS, Rules
from batchyard.domain.line import LineError
from batchyard.endpoint import BODY_KEYS, Body, Endpoint, Problem, decode_body

ENVELOPE = {"custom_id": "a string", "method": "a string", "url": "a string", "body": "an object"}


BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes from outside may raise."""


class _Fault(Struct, frozen=True):
    code: str
    message: str
    remedy: str = ""
    param: str | None = None


class _Pairs(list[tuple[str, Any]]):
    """An object as its pairs of key and value, with those that are there twice."""


class _Named(Struct):
    custom_id: str


_check_json = msgspec.json.Decoder(Raw).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_named = msgspec.json.Decoder(_Named).decode
_pairs = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=len, parse_float=len).decode
_strings = re.compile(rb'"(?:[^"\\]|\\.)*"')
_at_byte = re.compile(r"^(?:JSON is malformed: )?(.*?)(?: \(byte (\d+)\))?$")
_at_field = re.compile(r"^(.*) - at `\$\.(\w+)`$")


def explain(number: int, line: bytes, rules: Rules) -> LineError | None:
    """The first fault of a line, or None where it has none."""
    fault = next(_faults(line, rules), None)
    if fault is None:
        return None
    return LineError(
        number=number,
        code=fault.code,
        message=fault.message,
        remedy=fault.remedy,
        param=fault.param,
        custom_id=read_custom_id(line),
    )


def read_custom_id(line: bytes) -> str | None:
    """The id of a line, or None where it has none or cannot be read."""
    try:
        return _named(line).custom_id
    except BROKEN:
        return None


def _faults(line: bytes, rules: Rules) -> Iterator[_Fault]:
    """The faults of a line; only the first may be asked for, as the later steps rely on the earlier ones."""
    yield from _encoding(line)
    yield from _syntax(line)
    pairs = cast("object", _pairs(line.decode()))
    if not isinstance(pairs, _Pairs):
        yield _Fault("invalid_request", "Line is not a JSON object.", "Write one object per line.")
        return
    yield from _envelope(pairs)
    envelope = dict(pairs)
    yield from _custom_id(envelope["custom_id"], rules.longest_id)
    yield from _method(envelope["method"], rules)
    endpoint = rules.route(envelope["url"])
    if endpoint is None:
        yield _url(envelope["url"], rules)
        return
    yield from _repeated(envelope["body"], BODY_KEYS, "body.")
    yield from _body(_fields(_fields(line)["body"]), endpoint, rules)


# The line as JSON


def _encoding(line: bytes) -> Iterator[_Fault]:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        message = f"Line is not valid JSON: byte {error.start} is not UTF-8."
        yield _Fault("invalid_json_line", message, "Save the file as UTF-8.")


def _syntax(line: bytes) -> Iterator[_Fault]:
    try:
        _check_json(line)
    except msgspec.DecodeError as error:
        yield _malformed(line, str(error))
    except RecursionError:
        yield _too_deep()
    else:
        if _levels(line) > MOST_LEVELS:
            yield _too_deep()


def _too_deep() -> _Fault:
    message = f"Line is not valid JSON for us: it nests deeper than {MOST_LEVELS} levels."
    return _Fault("invalid_json_line", message, "Flatten the request.")


def _levels(line: bytes) -> int:
    deepest = level = 0
    for byte in _strings.sub(b"", line):
        if byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


def _malformed(line: bytes, error: str) -> _Fault:
    found = _at_byte.match(error)
    reason, at = (found[1], int(found[2] or len(line))) if found else (error, len(line))
    if "surrogate" in reason or _has_half_a_pair(line):
        return _Fault(
            "invalid_json_line",
            "Line is not valid JSON: it has half of a surrogate pair.",
            "Escape characters above U+FFFF as two \\u escapes, or write them in UTF-8.",
        )
    where = f"Line is not valid JSON: {reason} (byte {at})."
    return _Fault("invalid_json_line", where, _mend(line, at))


def _mend(line: bytes, at: int) -> str:
    if line.startswith(b"\xef\xbb\xbf"):
        return "Remove the byte order mark: it may only stand at the start of the file."
    rest = line[at:]
    if rest.startswith((b"NaN", b"Infinity")) or line[max(0, at - 1) :].startswith(b"-Infinity"):
        return "JSON has no NaN and no Infinity: write null or leave the field out."
    if rest.startswith(b"'"):
        return "JSON has double quotes only."
    if not rest:
        return "The line ends too early: is the file whole, and each request on one line?"
    if rest[0] < 0x20:
        return "Escape control characters in strings (\\n, \\t)."
    return "Write one JSON object per line."


def _has_half_a_pair(line: bytes) -> bool:
    try:
        text = json.dumps(json.loads(line, parse_int=str), ensure_ascii=False)
    except (ValueError, RecursionError):
        return False
    return any(0xD800 <= ord(char) < 0xE000 for char in text)


# The envelope


def _envelope(pairs: _Pairs) -> Iterator[_Fault]:
    envelope = dict(pairs)
    for key in ENVELOPE:
        if key not in envelope:
            message = f"Missing required parameter: '{key}'."
            yield _Fault("missing_required_parameter", message, f"Add '{key}' to the line.", key)
    yield from _repeated(pairs, tuple(ENVELOPE), "")
    for key, expected in ENVELOPE.items():
        if not isinstance(envelope[key], _Pairs if key == "body" else str):
            yield _Fault("invalid_request", f"'{key}' is not {expected}.", f"Write '{key}' as {expected}.", key)


def _custom_id(custom_id: str, longest: int) -> Iterator[_Fault]:
    if not 0 < len(custom_id) <= longest:
        message = f"'custom_id' has {len(custom_id)} characters; it may have 1 to {longest}."
        yield _Fault("invalid_request", message, "Shorten the id." if custom_id else "Name the line.", "custom_id")


def repeats_a_key(line: bytes) -> bool:
    """Whether a line (a JSON object with an object `body`) has a key twice that we read."""
    pairs = _pairs(line.decode())
    return any(_repeated(pairs, tuple(ENVELOPE), "")) or any(_repeated(dict(pairs)["body"], BODY_KEYS, "body."))


def _repeated(pairs: _Pairs, keys: tuple[str, ...], where: str) -> Iterator[_Fault]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen and key in keys:
            yield _Fault("invalid_request", f"'{where}{key}' is there twice.", "Keep one of them.", f"{where}{key}")
        seen.add(key)


def _method(method: str, rules: Rules) -> Iterator[_Fault]:
    if method != "POST" and not rules.any_method:
        yield _Fault("invalid_method", f"The method '{method}' is not POST.", "Write 'method' as \"POST\".", "method")


def _url(url: str, rules: Rules) -> _Fault:
    if rules.batch:
        (endpoint,) = rules.endpoints
        message = f"The url '{url}' does not match the endpoint of the batch, '{endpoint}'."
        return _Fault("invalid_url", message, "Put lines of another endpoint into a batch of their own.", "url")
    message = f"The url '{url}' does not match any endpoint of this run."
    return _Fault("invalid_url", message, f"Use one of: {', '.join(sorted(rules.endpoints))}.", "url")


# The body


def _body(fields: dict[str, Raw], endpoint: Endpoint, rules: Rules) -> Iterator[_Fault]:
    yield from _stream(fields.get("stream"))
    yield from _model(fields.get("model"), rules)
    mistyped: list[_Fault] = []
    body = _lenient(fields, mistyped)
    problem = endpoint.check(body, bytes(getattr(body, endpoint.prompt)))
    if isinstance(problem, Problem):
        yield _Fault(problem.code, problem.message, problem.remedy, f"body.{problem.param}")
    yield from mistyped


def _stream(raw: Raw | None) -> Iterator[_Fault]:
    stream = None if raw is None else bytes(raw)
    if stream is not None and stream.lower() in (b"true", b'"true"'):
        message = "Streaming is not supported in a batch."
        yield _Fault("streaming_unsupported", message, "Remove 'stream', or set it to false.", "body.stream")
    elif stream not in (None, b"false", b"null"):
        yield _Fault("invalid_request", "'body.stream' is not a boolean.", "Remove 'stream'.", "body.stream")


def _model(raw: Raw | None, rules: Rules) -> Iterator[_Fault]:
    written: object = None if raw is None else msgspec.json.decode(raw)
    if written is not None and not isinstance(written, str):
        yield _Fault("invalid_request", "'body.model' is not a string.", "Write 'model' as a string.", "body.model")
        return
    model = written or rules.default_model
    if model is None:
        remedy = "Add 'model' to the body" + ("." if rules.batch else ", or name one for the whole run with --model.")
        yield _Fault("invalid_request", "Missing required field 'body.model'.", remedy, "body.model")
    elif rules.models is not None and model not in rules.models:
        yield _unknown_model(model, rules)
    elif rules.one_model is not None and rules.one_model.differs(model):
        message = f"The model '{model}' is not that of the first line, '{rules.one_model.first}'."
        yield _Fault("mismatched_model", message, "Put each model's lines into a batch of their own.", "body.model")


def _unknown_model(model: str, rules: Rules) -> _Fault:
    known = ", ".join(sorted(rules.models or ()))
    if rules.batch:
        message = f"The model '{model}' does not exist, or is not supported for this endpoint."
        return _Fault("model_not_found", message, f"Ask for one of: {known}." if known else "", "body.model")
    remedy = f"Ask for one of: {known}; or let this run answer to that name with --served-model-name."
    return _Fault("model_not_found", f"The model '{model}' is not supported by this run.", remedy, "body.model")


def _lenient(fields: dict[str, Raw], mistyped: list[_Fault]) -> Body:
    """The body without the fields of a wrong type, which go to `mistyped`."""
    left = {key: raw for key, raw in fields.items() if key in BODY_KEYS}
    while True:
        try:
            return decode_body(msgspec.json.encode(left))
        except msgspec.ValidationError as error:
            found = _at_field.match(str(error))
            assert found is not None, error
            reason, key = found[1], found[2]
            del left[key]
            message = f"'body.{key}' is not right: {reason[0].lower()}{reason[1:].replace('`', '')}."
            mistyped.append(_Fault("invalid_request", message, f"Write '{key}' as a plain number.", f"body.{key}"))
