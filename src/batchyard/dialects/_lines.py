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

from batchyard.dialects._faults import BROKEN, explain, read_custom_id, repeats_a_key
from batchyard.dialects._rules import MOST_LEVELS, Rules
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.endpoint import BODY_KEYS, Body, Endpoint, Traits, decode_body

SHAPES_BYTES = 4 << 20
"""Room for shapes that are remembered."""

FEW_BRACKETS = 16

DOUBTFUL, BODY_INSIDE, BODY_LAST = 0, 1, 2
"""What a shape says of its lines."""

SPACE = ord(" ")

NAMED = b'"custom_id":'
"""What stands in a shape for the id and its key."""


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
_escaped = re.compile(rb"\\u00[5-7]").search
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
        self._shapes: dict[bytes, int] = {}
        self._room = SHAPES_BYTES

    def read(self, number: int, line: bytes) -> Line | LineError:
        """Check one line and describe it."""
        try:
            envelope = _decode(line)
        except BROKEN:
            found = None
        else:
            found = self._quick(line, envelope)
        return found or explain(number, line, self._rules) or self._slow(line)

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

    def _quick(self, line: bytes, envelope: _Envelope) -> Line | None:
        """A line that is right beyond doubt; None where a closer look is needed."""
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
            or not (line.isascii() or _is_text(line))
        ):
            return None
        prompt = bytes(getattr(body, endpoint.prompt))
        traits = endpoint.check(body, prompt)
        if type(traits) is not Traits or _may_nest_deep(prompt):
            return None
        body_is_last = self._body_is_last(line, self._prompt_keys[endpoint.path], prompt, envelope.custom_id)
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

    def _body_is_last(self, line: bytes, key: bytes, prompt: bytes, custom_id: str) -> bool | None:
        """Whether the body is the last of the envelope's keys; None where the line needs a closer look.

        A line without its prompt and its id is its shape. A file has few shapes, so most are known already.
        """
        shape = _without(line, key, prompt)
        named = NAMED + b' "' + custom_id.encode() + b'"'
        if named not in shape:
            named = named.replace(b" ", b"", 1)
        shape = shape.replace(named, NAMED, 1)
        known = self._shapes.get(shape)
        if known is None:
            known = _examine(shape, line)
            if len(shape) <= self._room:
                self._room -= len(shape)
                self._shapes[shape] = known
        return None if known == DOUBTFUL else known == BODY_LAST

    def _digest(self, line: bytes, endpoint: Endpoint, body_is_last: bool) -> int:
        """Hash of an endpoint and the bytes of a body, never 0.

        Where the line ends with its body, the body is cut out without decoding the line again. With unknown keys behind
        it, those are hashed too; a repeat may then be missed, which costs one answer and is never wrong.
        """
        seed = self._seeds[endpoint.path]
        if body_is_last and line.endswith(b"}}"):
            start = line.find(b'"body": {') + 8
            if start < 8:
                start = line.find(b'"body":{') + 7
            if start >= 7:
                return xxh3_64_intdigest(line[start:-1], seed) or 1
        return xxh3_64_intdigest(bytes(_split(line).body), seed) or 1

    def _slow(self, line: bytes) -> Line:
        """Describe a line in which the closer look found no fault."""
        envelope = _decode(line)
        endpoint = self._rules.route(envelope.url)
        assert endpoint is not None
        traits = endpoint.check(envelope.body, bytes(getattr(envelope.body, endpoint.prompt)))
        assert isinstance(traits, Traits)
        digest = self._digest(line, endpoint, body_is_last=False) if traits.repeatable else 0
        model = envelope.body.model or self._rules.default_model or ""
        tokens = (traits.prompt_bytes + 3) >> 2
        return Line(envelope.custom_id, endpoint.path, model, traits.prefix, digest, tokens, traits.output_tokens)


def _is_text(line: bytes) -> bool:
    """Whether a line is UTF-8; of most of a line the decoder does not look at that."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_nest_deep(json: bytes) -> bool:
    """Whether there are so many brackets that they could nest too deep.

    Looking for the few that most prompts have is quicker than counting.
    """
    at, few = json.find(b"["), FEW_BRACKETS
    while at >= 0 and few:
        at, few = json.find(b"[", at + 1), few - 1
    at = json.find(b"{")
    while at >= 0 and few:
        at, few = json.find(b"{", at + 1), few - 1
    return not few and json.count(b"[") + json.count(b"{") > MOST_LEVELS // 2


def _examine(shape: bytes, line: bytes) -> int:
    """Look at the keys of a line without its prompt and id; at all of the line where they leave a doubt.

    A key that we read may stand in a deeper object too, or be spelled with escapes.
    """
    if shape.count(b"[") + shape.count(b"{") > MOST_LEVELS // 2:
        return DOUBTFUL
    keys = _keys(shape)
    if _escaped(shape) or len(set(keys)) < len(keys):
        return DOUBTFUL if repeats_a_key(line) else BODY_INSIDE
    before = keys[: keys.index(b"body")]
    return BODY_LAST if {b"custom_id", b"method", b"url"} <= set(before) else BODY_INSIDE


def _without(line: bytes, key: bytes, value: bytes) -> bytes:
    """A line without the value of one key; the whole line where the value is not found at once."""
    start = line.find(key) + len(key)
    if line[start] == SPACE:
        start += 1
    if value and line.startswith(value, start):
        return line[:start] + line[start + len(value) :]
    return line
