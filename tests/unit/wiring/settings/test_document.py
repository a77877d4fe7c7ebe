"""A TOML text, its lines, and everything in it that is not TOML."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from batchyard.wiring.settings.document import MOST_BROKEN, Path, read_document

WHOLE = '''
top = 1
[server]
host = "a # b"   # a comment
"port" = 80

[models."x.y"]
aliases = [
  "one",  # ] not the end
  "two",
]
text = """
[not.a.table]
slots = 1
"""
prices = { input = 1.5, "batch discount" = 0.5 }
a.b = 'c = d'
[models.z]
slots = 1
'''


def test_every_key_has_its_line() -> None:
    document = read_document(WHOLE)
    lines = WHOLE.split("\n")
    assert document.broken == () and document.values == tomllib.loads(WHOLE)
    for path, text in PLACES.items():
        assert text in lines[(document.line(path) or 0) - 1], path


PLACES: dict[Path, str] = {
    ("top",): "top = 1",
    ("server",): "[server]",
    ("server", "port"): '"port"',
    ("models",): '[models."x.y"]',
    ("models", "x.y", "aliases"): "aliases",
    ("models", "x.y", "aliases", "1"): '"two"',
    ("models", "x.y", "prices", "batch discount"): "prices",
    ("models", "x.y", "a", "b"): "a.b",
    ("models", "z", "slots"): "slots = 1",
}


def test_a_key_that_is_not_there_has_the_line_of_its_table() -> None:
    document = read_document("\n[server]\nport = 1\n")
    assert document.line(("server", "host")) == 2
    assert document.line(("models", "a")) is None


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("a = 1\nb = two\nc = 3", 2, "b"),
        ("a = 1\nb 2\nc = 3", 2, "b 2"),
        ("a = 1\nb = 2 3\nc = 3", 2, "b"),
        ('a = 1\nb = "two\nc = 3', 2, "b"),
        ("a = 1\nb = [1,\n2\nc = 3", 2, "b"),
        ("a = 1\nb = [1,\n2 2,\n3]\nc = 3", 3, "2 2,"),
        ('a = 1\nb = """two\nc = 3', 2, "b"),
        ("a = 1\na = 2\nc = 3", 2, "a"),
        ("a = 1\nb =\nc = 3", 2, "b"),
        ("\ufeffa = 1\r\nb = x\r\nc = 3\r\n", 2, "b"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_rest_is_read(text: str, line: int, key: str) -> None:
    document = read_document(text)
    (broken,) = document.broken
    assert (broken.line, broken.text) == (line, key)
    assert {name: document.values.get(name) for name in ("a", "c")} == {"a": 1, "c": 3}


def test_all_that_cannot_be_read_is_told_in_order() -> None:
    document = read_document("a = x\n[b\nc = 1\n[d]\ne = 1\n[d]\ne = 2\nf =\n[g]\nh = 1")
    assert [broken.line for broken in document.broken] == [1, 2, 6, 8]
    assert document.values == {"d": {"e": 1}, "g": {"h": 1}}


def test_keys_below_a_table_that_cannot_be_read_go_nowhere_else() -> None:
    document = read_document("[a]\nx = 1\n[b c]\ny = 1\n[d]\nz = 1")
    assert document.values == {"a": {"x": 1}, "d": {"z": 1}}


def test_no_value_is_shown_as_it_may_be_secret() -> None:
    (broken,) = read_document("api_key = sk-1234567890").broken
    assert "1234567890" not in f"{broken.text} {broken.reason}"


def test_a_text_that_is_no_toml_at_all_comes_to_an_end() -> None:
    document = read_document("so it is\n" * 500)
    assert len(document.broken) == MOST_BROKEN + 1 and document.values == {}


pieces = some.sampled_from(
    ["a", "b.c", '"d"', " = ", "\n", "[", "]", "{", "}", ",", '"', "'", '"""', "1", "x = 1\n", "[t]\n", "#", "\\", " "]
)


@settings(max_examples=300, deadline=None)
@given(some.lists(pieces, max_size=25).map("".join))
def test_any_text_is_read_and_what_is_toml_is_read_as_it_is(text: str) -> None:
    document = read_document(text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert document.broken
    else:
        assert document.values == values and not document.broken
        assert all(document.line((name,)) for name in values)
    count = text.count("\n") + 1
    assert all(1 <= line <= count for line in (*document.lines.values(), *(each.line for each in document.broken)))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000, "{a=" * 5000])
def test_a_value_without_end_is_told(value: str) -> None:
    assert read_document(f"a = 1\nb = {value}\n").broken
