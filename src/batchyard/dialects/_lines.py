"""Reading the request lines that OpenAI, vLLM and FastDeploy have in common.

    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [...]}}

Most lines are right, so reading has two ways with one meaning. The quick way decodes the few fields that matter in one
typed pass. Whatever it stumbles over goes to `_faults.explain`, which checks step by step, in the order that the OpenAI
service uses, and says what is wrong first. Where that finds nothing, the line is as good as any other.

Keys that appear twice are refused in the envelope and among the body's keys that we read, as programs disagree on which
one counts. Deeper objects, and keys that only an engine reads, pass untouched.
"""

import re

import msgspec
from msgspec import Raw, Struct
from xxhash import xxh3_64_intdigest

from batchyard.dialects._faults import BROKEN, explain, read_custom_id
from batchyard.dialects._rules import MOST_LEVELS, Rules
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.endpoint import BODY_KEYS, Body, Endpoint, Traits, decode_body

MOST_SHAPES = 4096


class _Envelope(Struct, gc=False):
    custom_id: str
    method: str
    url: str
    body: Body


class _Split(Struct, gc=False):
    custom_id: str
    url: str
    body: Raw


_decode = msgspec.json.Decoder(_Envelope).decode
_split = msgspec.json.Decoder(_Split).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_keys = re.compile(rb'"(%s)"\s*:' % "|".join(("custom_id", "method", "url", "body", *BODY_KEYS)).encode()).findall
_model_first = re.compile(rb'\{\s*"model"\s*:\s*"([^"\\]+)"').match


class Lines:
    """Reads the lines of one run."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._endpoints = {
            url: endpoint
            for path, endpoint in rules.endpoints.items()
            for url in (path, path.removeprefix("/v1"), f"/v2{path.removeprefix('/v1')}")
            if rules.route(url) is endpoint
        }
        self._prompt_keys = {path: b'"%s":' % endpoint.prompt.encode() for path, endpoint in rules.endpoints.items()}
        self._seeds = {path: xxh3_64_intdigest(path.encode()) for path in rules.endpoints}
        self._shapes: dict[bytes, bool] = {}

    def read(self, number: int, line: bytes) -> Line | LineError:
        """Check one line and describe it."""
        return self._quick(line) or explain(number, line, self._rules) or self._slow(line)

    def request(self, place: int, line: bytes) -> Request:
        """The request of a line that `read` accepted."""
        parts = _split(line)
        body = bytes(parts.body)
        found = _model_first(body)
        model = found[1].decode() if found else decode_body(body).model
        if not model:
            model = self._rules.default_model or ""
            body = msgspec.json.encode(_fields(body) | {"model": model})
        endpoint = self._endpoints.get(parts.url) or self._rules.route(parts.url)
        assert endpoint is not None
        return Request(place, parts.custom_id, endpoint.path, model, body)

    def custom_id(self, line: bytes) -> str | None:
        return read_custom_id(line)

    def _quick(self, line: bytes) -> Line | None:
        """A line that is right beyond doubt; None where a closer look is needed."""
        try:
            envelope = _decode(line)
        except BROKEN:
            return None
        rules = self._rules
        body = envelope.body
        endpoint = self._endpoints.get(envelope.url)
        model = body.model or rules.default_model
        if (
            endpoint is None
            or (envelope.method != "POST" and not rules.any_method)
            or not 0 < len(envelope.custom_id) <= rules.longest_id
            or body.stream
            or model is None
            or (rules.models is not None and model not in rules.models)
            or not _is_plain(line)
        ):
            return None
        traits = endpoint.check(body)
        if type(traits) is not Traits:
            return None
        body_is_last = self._shape(line, endpoint, body)
        if body_is_last is None:
            return None
        digest = self._digest(line, endpoint, body_is_last) if traits.repeatable else 0
        return Line(
            envelope.custom_id,
            endpoint.path,
            model,
            traits.prefix,
            digest,
            (traits.prompt_bytes + 3) >> 2,
            traits.output_tokens,
        )

    def _shape(self, line: bytes, endpoint: Endpoint, body: Body) -> bool | None:
        """Whether the body is the last of the envelope's keys; None where a key that we read may be there twice.

        The keys are looked for outside the prompt, which is nearly all of a line. Their order is the line's shape, and
        a file has few shapes. A key spelled with escapes would hide, so those are left to the closer look.
        """
        rest = _without(line, self._prompt_keys[endpoint.path], getattr(body, endpoint.prompt))
        if b"\\u00" in rest:
            return None
        keys = _keys(rest)
        shape = b" ".join(keys)
        known = self._shapes.get(shape)
        if known is not None:
            return known
        if len(set(keys)) < len(keys):
            return None
        known = keys.index(b"body") > max(keys.index(key) for key in (b"custom_id", b"method", b"url"))
        if len(self._shapes) < MOST_SHAPES:
            self._shapes[shape] = known
        return known

    def _digest(self, line: bytes, endpoint: Endpoint, body_is_last: bool) -> int:
        """Hash of an endpoint and the bytes of a body, never 0.

        Where the line ends with its body, the body is cut out without decoding the line again. With unknown keys behind
        it, those are hashed too; a repeat may then be missed, which costs one answer and is never wrong.
        """
        seed = self._seeds[endpoint.path]
        if body_is_last and line.endswith(b"}}"):
            start = line.index(b":", line.index(b'"body"')) + 1
            if line.startswith(b" ", start):
                start += 1
            return xxh3_64_intdigest(memoryview(line)[start:-1], seed) or 1
        return xxh3_64_intdigest(bytes(_split(line).body), seed) or 1

    def _slow(self, line: bytes) -> Line:
        """Describe a line in which the closer look found no fault."""
        envelope = _decode(line)
        endpoint = self._rules.route(envelope.url)
        assert endpoint is not None
        traits = endpoint.check(envelope.body)
        assert isinstance(traits, Traits)
        digest = self._digest(line, endpoint, body_is_last=False) if traits.repeatable else 0
        model = envelope.body.model or self._rules.default_model or ""
        tokens = (traits.prompt_bytes + 3) >> 2
        return Line(envelope.custom_id, endpoint.path, model, traits.prefix, digest, tokens, traits.output_tokens)


def _is_plain(line: bytes) -> bool:
    """Whether a line is UTF-8, and has too few brackets to nest too deep."""
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError:
            return False
    return len(line) < 2 * MOST_LEVELS or line.count(b"{") + line.count(b"[") <= MOST_LEVELS


def _without(line: bytes, key: bytes, raw: Raw) -> bytes:
    """A line without the value of one key; the whole line where the value is not found at once."""
    value = bytes(raw)
    start = line.find(key) + len(key)
    if line.startswith(b" ", start):
        start += 1
    if value and line.startswith(value, start):
        return line[:start] + line[start + len(value) :]
    return line
