"""Reading the request lines that OpenAI, vLLM and FastDeploy have in common.

    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [...]}}

Most lines are right and much like each other, so reading has two ways with one meaning. The quick way decodes the few
fields that matter in one typed pass, and looks at the line's *shape*: all of it but its id and its prompt. What is true
of a shape (endpoint, model, sampling, that no key is repeated) is found once and remembered. Once lines of one shape
follow each other, the next is first compared with the *frame* around the id and the prompt of the last one: where it
fits, only these two are left to read. Whatever the quick way stumbles over goes to `_faults.explain`, which checks step
by step, in the order that the OpenAI service uses, and says what is wrong first. Where that finds nothing, the line is
as good as any other.

Keys that appear twice are refused in the envelope and among the body's keys that we read, as programs disagree on which
one counts. Deeper objects, and keys that only an engine reads, pass untouched.
"""

import re

import msgspec
from msgspec import Raw, Struct
from xxhash import xxh3_64_intdigest

from batchyard.dialects.lines._faults import BROKEN, explain, read_custom_id, repeats_a_key
from batchyard.dialects.lines._rules import MOST_LEVELS, Rules
from batchyard.domain.line import Line, LineError
from batchyard.domain.request import Request
from batchyard.endpoint import BODY_KEYS, Body, Endpoint, Traits, decode_body
from batchyard.policy.prefix import prefix_of, prefix_seed

SHAPES_BYTES = 4 << 20
"""Room for shapes that are remembered."""

FEW_BRACKETS = 16
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


class _Known(Struct, gc=False):
    """What is true of all lines of a shape.

    `body_seed` is 0 where only the line itself tells where its body is. In a `plain` shape, the id comes before the
    prompt, no other key could be taken for theirs, and nothing is escaped.
    """

    endpoint: str
    model: str
    repeatable: bool
    output_tokens: int
    prefix_seed: int
    body_seed: int
    plain: bool


class _Frame(Struct, gc=False):
    """What stands before the id, between id and prompt, and after the prompt in lines of a plain shape.

    `between` ends with the prompt's first byte, which tells its type, and `after` begins with its last.
    """

    known: _Known
    before: bytes
    between: bytes
    after: bytes


_decode = msgspec.json.Decoder(_Envelope).decode
_split = msgspec.json.Decoder(_Split).decode
_check_json = msgspec.json.Decoder(Raw).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_keys = re.compile(rb'"(%s)"\s*:' % "|".join(("custom_id", "method", "url", "body", *BODY_KEYS)).encode()).findall
_escaped = re.compile(rb"\\u00[5-7]").search
_id_text = re.compile(rb'[^"\\\x00-\x1f]+').match
_model_first = re.compile(rb'\{\s*"model"\s*:\s*"([^"\\]+)"').match


class Lines:
    """Reads the lines of one run."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        urls = {path.removeprefix("/v1") for path in rules.endpoints}
        routes = {url: rules.route(url) for url in urls | {f"/v1{url}" for url in urls} | {f"/v2{url}" for url in urls}}
        self._endpoints = {url: endpoint for url, endpoint in routes.items() if endpoint is not None}
        self._prompts = {url: (each.prompt, b'"%s":' % each.prompt.encode()) for url, each in self._endpoints.items()}
        self._shapes: dict[bytes, _Known] = {}
        self._room = SHAPES_BYTES
        self._frame: _Frame | None = None
        self._last: _Known | None = None

    def read(self, number: int, line: bytes) -> Line | LineError:
        """Check one line and describe it."""
        frame = self._frame
        if frame is not None and line.endswith(frame.after) and line.startswith(frame.before):
            found = self._framed(line, frame)
            if found is not None:
                return found
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

    def _framed(self, line: bytes, frame: _Frame) -> Line | None:
        """A line that differs from the last one in its id and its prompt only, and is right beyond doubt.

        Most lines of most files come this way: it is written in one piece.
        """
        found = _id_text(line, len(frame.before))
        if found is None or not line.startswith(frame.between, found.end()):
            return None
        prompt = line[found.end() + len(frame.between) - 1 : len(line) - len(frame.after) + 1]
        try:
            _check_json(prompt)
            custom_id = found[0].decode()
            if not line.isascii():
                line.decode()  # of most of a line the decoder does not look at that
        except BROKEN:
            return None
        if len(custom_id) > self._rules.longest_id or _may_nest_deep(prompt):
            return None
        known = frame.known
        return Line(
            custom_id,
            known.endpoint,
            known.model,
            prefix_of(prompt, known.prefix_seed),
            (xxh3_64_intdigest(prompt, known.body_seed) or 1) if known.repeatable else 0,
            (len(prompt) + 3) >> 2,
            known.output_tokens,
        )

    def _quick(self, line: bytes, envelope: _Envelope) -> Line | None:
        """A line that is right beyond doubt; None where a closer look is needed. Runs for every line."""
        prompt_key = self._prompts.get(envelope.url)
        if prompt_key is None:
            return None
        custom_id = envelope.custom_id
        prompt = bytes(getattr(envelope.body, prompt_key[0]))
        if (
            not 0 < len(custom_id) <= self._rules.longest_id
            or not (line.isascii() or _is_text(line))
            or _may_nest_deep(prompt)
        ):
            return None
        shape = _shape(line, prompt_key[1], prompt, custom_id)
        known = self._shapes.get(shape) or self._examine(shape, line, envelope, prompt)
        if known is None:
            return None
        if known is self._last and known.plain:
            self._frame = _frame(line, prompt_key[1], prompt, custom_id, known)
        self._last = known
        return _described(line, custom_id, prompt, known)

    def _slow(self, line: bytes) -> Line:
        """Describe a line in which the closer look found no fault."""
        envelope = _decode(line)
        endpoint = self._rules.route(envelope.url)
        assert endpoint is not None
        prompt = bytes(getattr(envelope.body, endpoint.prompt))
        known = self._known(endpoint, envelope.body, prompt, body_seed=0, plain=False)
        assert known is not None
        return _described(line, envelope.custom_id, prompt, known)

    def _examine(self, shape: bytes, line: bytes, envelope: _Envelope, prompt: bytes) -> _Known | None:
        """What is true of a new shape; None where something is wrong, or may be."""
        rules, body = self._rules, envelope.body
        if (envelope.method != "POST" and not rules.any_method) or body.stream or _may_nest_deep(shape):
            return None
        keys = _keys(shape)
        distinct = len(set(keys)) == len(keys)
        if (not distinct or _escaped(shape)) and repeats_a_key(line):
            return None
        endpoint = self._endpoints[envelope.url]
        body_seed = _body_seed(shape, keys, endpoint.path)
        plain = bool(body_seed and prompt) and distinct and b"\\" not in shape
        known = self._known(endpoint, body, prompt, body_seed, plain)
        if known is not None and len(shape) <= self._room:
            self._room -= len(shape)
            self._shapes[shape] = known
        return known

    def _known(self, endpoint: Endpoint, body: Body, prompt: bytes, body_seed: int, plain: bool) -> _Known | None:
        rules = self._rules
        model = body.model or rules.default_model
        traits = endpoint.check(body, prompt)
        if model is None or (rules.models is not None and model not in rules.models):
            return None
        if (rules.one_model is not None and rules.one_model.differs(model)) or not isinstance(traits, Traits):
            return None
        return _Known(
            endpoint.path,
            model,
            traits.repeatable,
            traits.output_tokens,
            prefix_seed(f"{endpoint.path} {model}"),
            body_seed,
            plain,
        )


def _described(line: bytes, custom_id: str, prompt: bytes, known: _Known) -> Line:
    if not known.repeatable:
        digest = 0
    elif known.body_seed:
        # Where the shape tells what else is in the body, only the prompt is left to hash. Equal requests in lines that
        # are laid out in different ways may get different digests, which costs an answer and is never wrong.
        digest = xxh3_64_intdigest(prompt, known.body_seed) or 1
    else:
        digest = _digest(line, known) or 1
    return Line(
        custom_id,
        known.endpoint,
        known.model,
        prefix_of(prompt, known.prefix_seed),
        digest,
        (len(prompt) + 3) >> 2,
        known.output_tokens,
    )


def _digest(line: bytes, known: _Known) -> int:
    """Hash of an endpoint, a model and a body."""
    return xxh3_64_intdigest(bytes(_split(line).body), known.prefix_seed)


def _shape(line: bytes, key: bytes, prompt: bytes, custom_id: str) -> bytes:
    """A line without its prompt (but for the first byte, which tells its type) and without its id.

    A line is told by its shape, prompt and id together. What is not found at once stays in the shape.
    """
    start = _value_of(line, key)
    shape = line[: start + 1] + line[start + len(prompt) :] if prompt and line.startswith(prompt, start) else line
    named = NAMED + b' "' + custom_id.encode() + b'"'
    if named not in shape:
        named = named.replace(b" ", b"", 1)
    return shape.replace(named, NAMED, 1)


def _value_of(line: bytes, key: bytes) -> int:
    """Where the value stands behind the first `key`, which ends with its colon."""
    start = line.find(key) + len(key)
    return start + 1 if line[start] == SPACE else start


def _frame(line: bytes, key: bytes, prompt: bytes, custom_id: str, known: _Known) -> _Frame | None:
    """The frame of a line of a plain shape, where id and prompt stand in it as they should."""
    named, start = b'"%b"' % custom_id.encode(), _value_of(line, key)
    at = _value_of(line, NAMED)
    if not (at < start and line.startswith(named, at) and line.startswith(prompt, start)):
        return None
    return _Frame(known, line[: at + 1], line[at + len(named) - 1 : start + 1], line[start + len(prompt) - 1 :])


def _body_seed(shape: bytes, keys: list[bytes], path: str) -> int:
    """Hash of an endpoint and a shape's body, where the body is the last of the envelope's keys; else 0.

    Only the body itself is hashed: how the line goes on behind it (a carriage return, spaces) makes no other request.
    """
    if keys.count(b"body") != 1 or not {b"custom_id", b"method", b"url"} <= set(keys[: keys.index(b"body")]):
        return 0
    body = shape[shape.index(b'"body"') + len(b'"body"') :].lstrip(b": \t").rstrip()[:-1].rstrip()
    return xxh3_64_intdigest(path.encode() + body) or 1


def _is_text(line: bytes) -> bool:
    """Whether a line is UTF-8; of most of a line the decoder does not look at that."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_nest_deep(json: bytes) -> bool:
    """Whether there are so many brackets that they could nest too deep.

    Looking for the few that most prompts have is quicker than counting; most of all for one message, `[{...}]`.
    """
    at = json.find(b"{", 2)
    if json.find(b"[", 1) < 0 and (at < 0 or json.find(b"{", at + 1) < 0):
        return False
    at, few = json.find(b"[", 1), FEW_BRACKETS
    while at >= 0 and few:
        at, few = json.find(b"[", at + 1), few - 1
    at = json.find(b"{", 2)  # `[{` is how most prompts begin
    while at >= 0 and few:
        at, few = json.find(b"{", at + 1), few - 1
    return not few and json.count(b"[") + json.count(b"{") > MOST_LEVELS // 2
