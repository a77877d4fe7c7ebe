"""Reading request lines: what is right, what is wrong and said first, what an engine gets."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.dialects.lines import _lines
from batchyard.dialects.lines._lines import Lines
from batchyard.dialects.lines._rules import Rules
from batchyard.domain.line import Line, LineError
from batchyard.endpoints import ENDPOINTS
from tests.support.request_lines import CHAT, a_body, a_line, an_embedding, as_line, json_values, texts


def lines(**rules: Any) -> Lines:
    settings: dict[str, Any] = {"endpoints": ENDPOINTS, "default_model": "own", **rules}
    return Lines(Rules(**settings))


def read(line: bytes, **rules: Any) -> Line:
    found = lines(**rules).read(1, line)
    assert isinstance(found, Line), found
    return found


def fault(line: bytes, **rules: Any) -> LineError:
    found = lines(**rules).read(9, line)
    assert isinstance(found, LineError), found
    assert found.number == 9
    assert found.message and found.remedy
    return found


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def test_a_line_is_described_for_the_plan() -> None:
    line = read(a_line("x", max_tokens=7, model="big"))
    assert (line.custom_id, line.endpoint, line.model, line.output_tokens, line.digest) == ("x", CHAT, "big", 7, 0)
    assert line.input_tokens == (len(json.dumps(a_body()["messages"])) + 3) // 4


WRONG: list[tuple[bytes, str, str | None, str]] = [
    (b"{", "invalid_json_line", None, "not valid JSON"),
    (b"nonsense", "invalid_json_line", None, "not valid JSON"),
    (a_line() + b" {}", "invalid_json_line", None, "not valid JSON"),
    (a_line().replace(b"cold", b"c\xffld"), "invalid_json_line", None, "not UTF-8"),
    (a_line().replace(b"cold", b"c\nld"), "invalid_json_line", None, "not valid JSON"),
    (a_line(top_p=float("nan")), "invalid_json_line", None, "not valid JSON"),
    (a_line(top_p=float("inf")), "invalid_json_line", None, "not valid JSON"),
    (a_line(top_p=nested(199)), "invalid_json_line", None, "200 levels"),
    (as_line("a", a_body(messages=nested(199))), "invalid_json_line", None, "200 levels"),
    (a_line(top_p=5).replace(b"5", b"[" * 100_000), "invalid_json_line", None, "200 levels"),
    (a_line().replace(b"cold", b"\\ud83d"), "invalid_json_line", None, "surrogate"),
    (b"\xef\xbb\xbf" + a_line(), "invalid_json_line", None, "not valid JSON"),
    (b"[]", "invalid_request", None, "not a JSON object"),
    (b'"text"', "invalid_request", None, "not a JSON object"),
    (b'{"custom_id":"a","method":"POST","url":"/v1/embeddings"}', "missing_required_parameter", "body", "issing"),
    (b'{"method":"POST","url":"/v1/embeddings","body":{}}', "missing_required_parameter", "custom_id", "'custom_id'"),
    (b'{"custom_id":"a","url":"/v1/embeddings","body":{}}', "missing_required_parameter", "method", "issing"),
    (b'{"custom_id":"a","method":"POST","body":{}}', "missing_required_parameter", "url", "issing"),
    (as_line(5, a_body()), "invalid_request", "custom_id", "a string"),
    (as_line(None, a_body()), "invalid_request", "custom_id", "a string"),
    (as_line("", a_body()), "invalid_request", "custom_id", "0 characters"),
    (as_line("x" * 513, a_body()), "invalid_request", "custom_id", "513 characters"),
    (as_line("a", a_body(), method=1), "invalid_request", "method", "a string"),
    (as_line("a", a_body(), url=["x"]), "invalid_request", "url", "a string"),
    (as_line("a", "text"), "invalid_request", "body", "an object"),
    (a_line(method="GET"), "invalid_method", "method", "not POST"),
    (a_line(method="post"), "invalid_method", "method", "not POST"),
    (a_line(url="/v1/moderations"), "invalid_url", "url", "does not match"),
    (a_line(url="/v1/moderations"), "invalid_url", "url", "endpoint"),
    (a_line(stream=True), "streaming_unsupported", "body.stream", "not supported"),
    (a_line(stream="True"), "streaming_unsupported", "body.stream", "treaming"),
    (a_line(stream="true"), "streaming_unsupported", "body.stream", "treaming"),
    (a_line(stream="no"), "invalid_request", "body.stream", "boolean"),
    (a_line(model=5), "invalid_request", "body.model", "body.model"),
    (a_line(messages="hi"), "invalid_request", "body.messages", "body.messages"),
    (as_line("a", {"model": "m"}), "invalid_request", "body.messages", "body.messages"),
    (a_line(n="two"), "invalid_request", "body.n", "body.n"),
    (a_line(n=1.5), "invalid_request", "body.n", "body.n"),
    (a_line(seed=True), "invalid_request", "body.seed", "body.seed"),
    (a_line(temperature="hot"), "invalid_request", "body.temperature", "body.temperature"),
    (a_line(max_tokens=5).replace(b" 5", b"9" * 5000), "invalid_request", "body.max_tokens", "out of range"),
    (a_line(temperature=5).replace(b"5", b"1e999"), "invalid_request", "body.temperature", "out of range"),
]


@pytest.mark.parametrize(("line", "code", "param", "text"), WRONG)
def test_a_wrong_line_is_told_with_code_field_and_remedy(line: bytes, code: str, param: str | None, text: str) -> None:
    found = fault(line)
    assert (found.code, found.param) == (code, param)
    assert text in found.message


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (a_line(top_p=float("nan")), "null"),
        (a_line(top_p=float("-inf")), "null"),
        (a_line()[:-4], "too early"),
        (b"\xef\xbb\xbf" + a_line(), "byte order mark"),
        (a_line().replace(b"cold", b"c\tld"), "Escape"),
        (b"{'custom_id': 1}", "double quotes"),
    ],
)
def test_the_remedy_of_broken_json_says_what_to_mend(line: bytes, text: str) -> None:
    assert text in fault(line).remedy


KEYS = ["custom_id", "method", "url", "body", "body.model", "body.messages", "body.stream", "body.temperature"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("spelled", ["plain", "escaped"])
def test_a_key_that_we_read_may_not_be_there_twice(key: str, spelled: str) -> None:
    line = a_line(stream=False, temperature=0)
    name = key.removeprefix("body.")
    again = name if spelled == "plain" else f"\\u00{ord(name[0]):02x}{name[1:]}"
    value = json.dumps(json.loads(line)["body"].get(name, 0) if "." in key else json.loads(line)[name])
    extra = f'"{again}": {value}, '.encode()
    at = line.index(b'{"model"') + 1 if "." in key else 1

    found = fault(line[:at] + extra + line[at:])

    assert (found.code, found.param) == ("invalid_request", key)
    assert "twice" in found.message


def test_a_repeated_key_cannot_hide_behind_a_deeper_one() -> None:
    hiding = (
        b'{"extra": {"body": 0, "messages": []}, "custom_id": "a", "method": "POST", "url": "/v1/chat/completions", '
    )
    line = hiding + b'"body": {"model": "x", "model": "y", "messages": ["' + b"long " * 30 + b'"]}}'
    assert fault(line).param == "body.model"


def test_a_repeated_body_cannot_hide_in_a_prompt() -> None:
    start = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}, '
    assert fault(start + b'"body": {"messages": ["' + b"long " * 30 + b'"]}}').param == "body"


def test_deeper_keys_and_keys_that_only_engines_read_may_repeat() -> None:
    tools = b'"tools": [{"model": 1, "model": 2, "url": "u", "n": 3, "body": {}}], "top_k": 1, "top_k": 2, '
    line = a_line("a").replace(b'"messages"', tools + b'"messages"')
    reader = lines()
    for custom_id in (b'"a"', b'"b"'):
        assert isinstance(reader.read(1, line.replace(b'"a"', custom_id)), Line)


def test_the_first_fault_in_the_order_of_checks_is_told() -> None:
    body = {"stream": True, "model": 5, "n": "x"}
    assert fault(as_line("a", body, method="GET", url="/x")).code == "invalid_method"
    assert fault(as_line("a", body, url="/x")).code == "invalid_url"
    assert fault(as_line("a", body)).code == "streaming_unsupported"
    assert fault(as_line("a", {**body, "stream": False})).param == "body.model"
    assert fault(as_line("a", {"model": "m", "n": "x"})).param == "body.messages"
    assert fault(as_line("a", {"n": "x", "messages": []})).param == "body.n"


def test_a_fault_knows_the_id_of_its_line() -> None:
    assert fault(a_line("x", stream=True)).custom_id == "x"
    assert fault(b'{"custom_id": "x"').custom_id is None


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("/v1/chat/completions", CHAT),
        ("/chat/completions", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("/v1/responses", "/v1/responses"),
    ],
)
def test_a_url_may_lack_v1_and_end_with_a_slash(url: str, endpoint: str) -> None:
    line = as_line("a", a_body(input="hi"), url=url)
    assert read(line).endpoint == endpoint
    assert lines().request(0, line).endpoint == endpoint


@pytest.mark.parametrize("url", ["/rerank", "/v1/rerank", "/v2/rerank", "/any/rerank"])
def test_rerank_is_known_below_any_folder(url: str) -> None:
    assert read(as_line("a", {"query": "q", "documents": ["d"]}, url=url)).endpoint == "/v1/rerank"


def test_a_line_without_a_model_gets_the_runs_own() -> None:
    line = as_line("a", {"messages": [], "é": 1})
    assert read(line).model == "own"
    request = lines().request(3, line)
    assert (request.line, request.custom_id, request.model) == (3, "a", "own")
    assert json.loads(request.body) == {"model": "own", "messages": [], "é": 1}


@pytest.mark.parametrize("model", [None, ""])
def test_an_empty_model_counts_as_none(model: str | None) -> None:
    assert json.loads(lines().request(0, a_line(model=model)).body) == a_body(model="own")


def test_a_line_needs_a_model_where_the_run_has_none() -> None:
    found = fault(as_line("a", {"messages": []}), default_model=None)
    assert (found.code, found.param) == ("invalid_request", "body.model")
    assert "--model" in found.remedy


def test_an_unknown_model_is_told_with_the_known_ones() -> None:
    found = fault(a_line(model="other"), models=frozenset({"m", "k"}))
    assert (found.code, found.param) == ("model_not_found", "body.model")
    assert "not supported" in found.message
    assert "k, m" in found.remedy and "--served-model-name" in found.remedy


def test_a_request_has_the_users_own_bytes() -> None:
    body = b'{ "model":"m" ,"messages":[ ],"top_p" : 0.10, "n":1e0, "\\u00e9": "\xc3\xa9" }'
    line = b'{"body":' + body + b',"custom_id":"a","method":"POST","url":"/v1/chat/completions"}\r'
    assert read(line).custom_id == "a"
    assert lines().request(0, line).body == body


@pytest.mark.parametrize("place_of_model", ["first", "last"])
def test_the_model_is_found_wherever_it_stands(place_of_model: str) -> None:
    fields: dict[str, Any] = {"messages": [{"model": "no"}], "tools": [{"model": "no"}]}
    body = {"model": "mö", **fields} if place_of_model == "first" else {**fields, "model": "mö"}
    line = as_line("a", body)
    assert lines().request(0, line).model == read(line).model == "mö"


def test_equal_requests_have_equal_digests_whatever_their_ids() -> None:
    reader = lines()
    one, two, other = (reader.read(1, each) for each in (an_embedding("1"), an_embedding("22"), an_embedding("1", "x")))
    assert isinstance(one, Line) and isinstance(two, Line) and isinstance(other, Line)
    assert one.digest == two.digest != 0
    assert other.digest != one.digest


@pytest.mark.parametrize("change", [{"dimensions": 3}, {"model": "k"}, {"input": ["cold"]}])
def test_any_other_field_makes_another_digest(change: dict[str, Any]) -> None:
    reader = lines()
    one, other = reader.read(1, an_embedding("1")), reader.read(1, an_embedding("1", **change))
    assert isinstance(one, Line) and isinstance(other, Line)
    assert one.digest != other.digest


def test_what_is_known_of_a_shape_is_not_believed_of_another() -> None:
    reader = lines(models=frozenset({"m"}))
    assert isinstance(reader.read(1, a_line("a", max_tokens=5)), Line)
    huge = a_line("x" * 600, max_tokens=5)
    for wrong in (
        huge, a_line("a", max_tokens="5"), a_line("a", model="k", max_tokens=5), a_line("a", max_tokens=5, stream=True),
        a_line("a", messages={}, max_tokens=5), a_line("a", messages="m", max_tokens=5),
        a_line("a", messages=nested(200), max_tokens=5), a_line("a", max_tokens=5).replace(b"cold", b"c\xff"),
        a_line("a", max_tokens=5, method="PUT"),
    ):  # fmt: skip
        assert isinstance(reader.read(1, wrong), LineError)
    longer = reader.read(1, a_line("b", messages=["longer " * 9], max_tokens=5))
    assert isinstance(longer, Line) and (longer.custom_id, longer.input_tokens, longer.output_tokens) == ("b", 17, 5)


def test_shapes_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lines, "SHAPES_BYTES", 1000)
    reader = lines()
    for seed in range(100):
        found = reader.read(1, a_line("a", seed=seed))
        assert isinstance(found, Line) and found.digest
    assert sum(map(len, reader._shapes)) <= 1000  # pyright: ignore[reportPrivateUsage]


def test_a_digest_is_of_the_endpoint_too() -> None:
    body = {"model": "m", "input": "hi", "temperature": 0}
    one, two = (read(as_line("a", body, url=url)) for url in ("/v1/embeddings", "/v1/responses"))
    assert one.digest != two.digest


def test_the_quick_and_the_close_look_agree() -> None:
    spaced = json.dumps(json.loads(an_embedding("a")), separators=(", ", " : ")).encode()
    compact = json.dumps(json.loads(an_embedding("a")), separators=(",", ":")).encode()
    for line in (spaced, compact):
        reader = lines()
        quick, close = reader.read(1, line), reader._slow(line)  # pyright: ignore[reportPrivateUsage]
        assert isinstance(quick, Line)
        assert msgspec.structs.replace(quick, digest=1) == msgspec.structs.replace(close, digest=1)


def a_reader_used_to(line: bytes) -> Lines:
    """A reader that has read a few lines which differ in id and prompt only."""
    reader = lines(models=frozenset({"m"}))
    for custom_id, prompt in ((b"b", b"One"), (b"c", b"Two"), (b"d", b"Six"), (b"e", b"Ten")):
        assert isinstance(reader.read(1, line.replace(b'"a"', b'"%b"' % custom_id).replace(b"One", prompt)), Line)
    return reader


USUAL = a_line("a", max_tokens=5, temperature=0)


def test_the_frame_of_one_line_fits_the_next() -> None:
    reader = a_reader_used_to(USUAL)
    reader._shapes.clear()  # pyright: ignore[reportPrivateUsage]
    assert reader.read(1, USUAL) == read(USUAL)
    assert not reader._shapes  # pyright: ignore[reportPrivateUsage]


def test_a_frame_lets_nothing_deep_and_nobody_elses_id_pass() -> None:
    deep = a_line("a", messages=nested(201), max_tokens=5, temperature=0)
    assert isinstance(a_reader_used_to(USUAL).read(1, deep), LineError)
    other = USUAL.replace(b"{", b'{"meta": {"custom_id": "a"}, ', 1)
    reader = lines()
    for _ in range(4):
        reader.read(1, other)
    found = reader.read(1, other.replace(b'"a"', b'"q"', 1))
    assert isinstance(found, Line) and found.custom_id == "a"


@pytest.mark.parametrize(
    "usual",
    [
        USUAL,
        an_embedding("a", "One"),
        a_line("a", metadata={"custom_id": "a"}, temperature=0),
        a_line("a", metadata={"messages": [{"role": "user", "content": "One word for cold?"}]}, temperature=0),
        a_line("a", note='a "quoted" one', temperature=0),
        USUAL.replace(b"{", b'{"meta": {"custom_id": "a"}, ', 1),
        as_line("a", a_body(seed=1)).replace(b'"custom_id": "a", ', b"")[:-1] + b', "custom_id": "a"}',
        json.dumps(json.loads(USUAL), separators=(",", ":")).encode(),
        json.dumps(json.loads(USUAL), separators=(" ,", " :  ")).encode(),
    ],
)
@given(data=st.data())
def test_a_reader_that_is_used_to_a_line_reads_others_as_a_fresh_one_does(usual: bytes, data: st.DataObject) -> None:
    reader = a_reader_used_to(usual)
    pieces = (b'"a"', b'"One', b'[{"', b'"}]', b"}]", b", ", b"a", b" ")
    others = (
        b"",
        b" ",
        b"]",
        b"[[",
        b"}, {",
        b', "stream": true',
        b', "custom_id": "z"',
        b"\\",
        b"\\u0061",
        b"\xff",
        b"\n",
    )
    line = usual
    for _ in range(data.draw(st.integers(1, 3))):
        old = data.draw(st.sampled_from(pieces))
        new = data.draw(st.sampled_from((*pieces, *others)) | st.binary(max_size=6))
        line = line.replace(old, data.draw(st.sampled_from([new, old + new, new + old])), data.draw(st.integers(1, 2)))
    assert reader.read(1, line) == lines(models=frozenset({"m"})).read(1, line)


@given(custom_id=texts.filter(bool), fields=st.dictionaries(texts, json_values, max_size=4), ascii_only=st.booleans())
def test_any_field_that_only_an_engine_reads_passes(custom_id: str, fields: dict[str, Any], ascii_only: bool) -> None:
    body = {f"x_{key}": value for key, value in fields.items()} | a_body()
    whole = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, "meta": fields}
    line = json.dumps(whole, ensure_ascii=ascii_only).encode()

    assert read(line).custom_id == custom_id
    assert json.loads(lines().request(0, line).body) == body


@given(st.binary(max_size=80) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_reading_fail(line: bytes) -> None:
    found = lines().read(1, line)
    assert isinstance(found, Line | LineError)


@given(st.data())
def test_a_damaged_line_is_told_or_can_be_asked(data: st.DataObject) -> None:
    line = bytearray(a_line("id", stream=False, tools=[{"n": 1}], temperature=0.5, n=1))
    for _ in range(data.draw(st.integers(1, 3))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    reader = lines()

    found = reader.read(1, bytes(line))

    if isinstance(found, Line):
        request = reader.request(0, bytes(line))
        assert (request.custom_id, request.model) == (found.custom_id, found.model)
        assert json.loads(request.body)["model"] == found.model


@pytest.mark.parametrize("tail", [b"", b"\r", b"  ", b" \t\r"])
def test_what_follows_the_body_makes_no_other_request(tail: bytes) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 0}'
    line = b'{"custom_id": "%s", "method": "POST", "url": "/v1/chat/completions", "body": %s%s}%s'
    alike = [line % (b"a", body, b"", b""), line % (b"b", body, b"", tail), line % (b"c", body, b" ", tail)]
    digests = {read(each).digest for each in alike}
    assert len(digests) == 1 and digests != {0}


# Pictures

PICTURES = "/v1/images/generations"


def test_a_line_that_asks_for_pictures_is_described() -> None:
    line = read(as_line("a", {"prompt": "a cat", "size": "64x64", "seed": 1}, url="/images/generations"))
    assert (line.endpoint, line.model, line.output_tokens) == (PICTURES, "own", 0)
    assert line.digest and not read(as_line("a", {"prompt": "a cat"}, url=PICTURES)).digest


@pytest.mark.parametrize("size", ["64x64", "128x64"])
def test_lines_that_differ_in_their_size_are_told_apart(size: str) -> None:
    reader = lines()
    digests: list[int] = []
    for each in ("64x64", size, "64x64"):
        found = reader.read(1, as_line("a", {"prompt": "a cat", "seed": 1, "size": each}, url=PICTURES))
        assert isinstance(found, Line)
        digests.append(found.digest)
    assert digests[0] == digests[2] and (digests[0] == digests[1]) == (size == "64x64")


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"prompt": "a cat", "response_format": "url"}, "body.response_format", "b64_json"),
        ({"prompt": "a cat", "size": "huge"}, "body.size", "1024x1024"),
        ({"prompt": "a cat", "n": 11}, "body.n", "1 to 10"),
        ({"input": "a cat"}, "body.prompt", "a string"),
    ],
)
def test_what_no_picture_can_be_made_of_is_refused_with_the_remedy(body: dict[str, Any], param: str, says: str) -> None:
    reader = lines()
    for number in (1, 2):  # quickly and slowly
        found = reader.read(number, as_line("a", body, url=PICTURES))
        assert isinstance(found, LineError)
        assert (found.code, found.param) == ("invalid_request", param)
        assert says in found.remedy
