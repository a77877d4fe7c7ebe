"""What every line dialect must do: run over every file of `dialects/lines/`."""

import json
from importlib import import_module
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchyard.dialects.lines
from batchyard.dialect import LineDialect
from batchyard.domain.line import Line, LineError
from batchyard.domain.result import Answer, Failure, Outcome, Reply, Result
from batchyard.endpoints import ENDPOINTS
from tests.support.request_lines import a_line, an_embedding, json_values, texts

NAMES = sorted(path.stem for path in Path(next(iter(batchyard.dialects.lines.__path__))).glob("[!_]*.py"))

replies: st.SearchStrategy[Reply] = st.one_of(
    st.builds(
        Answer,
        st.sampled_from([200, 400, 404, 500]),
        json_values.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode())
        | st.binary(max_size=40),
        texts,
    ),
    st.builds(Failure, texts, texts),
)


class A:
    """A dialect, with lines of its own: a good one of an embedding, and one that cannot run."""

    def __init__(self, name: str, default_model: str | None = "own") -> None:
        module = import_module(f"batchyard.dialects.lines.{name}")
        own = {"embeddings": True} if name == "gemini" else {"endpoints": ENDPOINTS}
        self.open: LineDialect = module.open(module.Config(run_id="run", default_model=default_model, **own))
        self.good, self.bad, self.asked = LINES.get(name, OPENAI_LINES)


OPENAI_LINES = (
    an_embedding("a", "cold", dimensions=3),
    a_line("a", messages=5),
    {"model": "m", "input": "cold", "dimensions": 3},
)
LINES: dict[str, tuple[bytes, bytes, dict[str, object]]] = {
    "gemini": (
        b'{"key":"a","request":{"model":"models/m","content":{"parts":[{"text":"cold"}]}}}',
        b'{"key":"a","request":{"content":{"parts":5}}}',
        {"model": "m", "input": "cold", "encoding_format": "float"},
    )
}


@pytest.fixture(params=NAMES)
def a(request: pytest.FixtureRequest) -> A:
    return A(request.param)


def test_there_are_dialects() -> None:
    assert {"openai", "vllm", "fastdeploy"} <= set(NAMES)


def test_a_dialect_is_known_by_its_files_name() -> None:
    for name in NAMES:
        assert A(name).open.name == name


def test_a_line_that_was_read_can_be_asked(a: A) -> None:
    dialect, line = a.open, a.good
    found = dialect.read(1, line)
    assert isinstance(found, Line)
    request = dialect.request(7, line)
    assert (request.line, request.custom_id, request.endpoint, request.model) == (7, "a", found.endpoint, found.model)
    assert json.loads(request.body) == a.asked
    assert dialect.custom_id(line) == "a"


def test_an_unreadable_line_has_no_id(a: A) -> None:
    for line in (b"", b"{", b"[]", b"\xff", b'{"custom_id":5}', b"[" * 10**5):
        assert a.open.custom_id(line) is None


def test_an_error_becomes_a_result_of_its_line(a: A) -> None:
    found = a.open.read(5, a.bad)
    assert isinstance(found, LineError)
    result = a.open.error(found)
    assert (result.custom_id, result.outcome) == ("a", Outcome.ERRORED)
    written = json.loads(a.open.write(result, a.bad))
    assert "a" in (written.get("custom_id"), written.get("key")) and written["error"]


@pytest.mark.parametrize("name", NAMES)
@given(reply=replies, place=st.integers(0, 2**31), custom_id=st.none() | texts)
def test_any_result_becomes_one_line_of_ascii(name: str, reply: Reply, place: int, custom_id: str | None) -> None:
    a = A(name, default_model=None)
    told = a.open.told(Result(place, custom_id, Outcome.SUCCEEDED, reply), a.good)
    written = a.open.write(told, a.good)

    assert written.isascii() and written.index(b"\n") == len(written) - 1
    line = json.loads(written)
    if a.open.needs_lines:
        assert line["key"] == "a" and ("error" in line) != ("response" in line)
        return
    assert list(line) == ["id", "custom_id", "response", "error"]
    assert line["custom_id"] == custom_id
    if isinstance(reply, Answer) and reply.ok and _is_json(reply.body):
        shown = line["response"] if name == "nebius" else line["response"]["body"]
        assert shown == json.loads(reply.body) and line["error"] is None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
        body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
