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


@pytest.fixture(params=NAMES)
def dialect(request: pytest.FixtureRequest) -> LineDialect:
    module = import_module(f"batchyard.dialects.lines.{request.param}")
    return module.open(module.Config(run_id="run", endpoints=ENDPOINTS, default_model="own"))


def test_there_are_dialects() -> None:
    assert {"openai", "vllm", "fastdeploy"} <= set(NAMES)


def test_a_dialect_is_known_by_its_files_name() -> None:
    for name in NAMES:
        module = import_module(f"batchyard.dialects.lines.{name}")
        assert module.open(module.Config(run_id="r", endpoints=ENDPOINTS)).name == name


def test_a_line_that_was_read_can_be_asked(dialect: LineDialect) -> None:
    line = an_embedding("a", "cold", dimensions=3)
    found = dialect.read(1, line)
    assert isinstance(found, Line)
    request = dialect.request(7, line)
    assert (request.line, request.custom_id, request.endpoint, request.model) == (7, "a", found.endpoint, found.model)
    assert json.loads(request.body) == {"model": "m", "input": "cold", "dimensions": 3}
    assert dialect.custom_id(line) == "a"


def test_an_unreadable_line_has_no_id(dialect: LineDialect) -> None:
    for line in (b"", b"{", b"[]", b"\xff", b'{"custom_id":5}', b"[" * 10**5):
        assert dialect.custom_id(line) is None


def test_an_error_becomes_a_result_of_its_line(dialect: LineDialect) -> None:
    found = dialect.read(5, a_line("a", messages=5))
    assert isinstance(found, LineError)
    result = dialect.error(found)
    assert (result.custom_id, result.outcome) == ("a", Outcome.ERRORED)
    written = json.loads(dialect.write(result))
    assert written["custom_id"] == "a" and written["error"]


@pytest.mark.parametrize("name", NAMES)
@given(reply=replies, place=st.integers(0, 2**31), custom_id=st.none() | texts)
def test_any_result_becomes_one_line_of_ascii(name: str, reply: Reply, place: int, custom_id: str | None) -> None:
    module = import_module(f"batchyard.dialects.lines.{name}")
    written = module.open(module.Config(run_id="run", endpoints=ENDPOINTS)).write(
        Result(place, custom_id, Outcome.SUCCEEDED, reply)
    )

    assert written.isascii() and written.index(b"\n") == len(written) - 1
    line = json.loads(written)
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
