"""What keys may hold."""

from typing import Any

import pytest

from batchyard.wiring.settings.kinds import (
    Bytes,
    Flags,
    Json,
    Kind,
    ListOf,
    Nanos,
    Number,
    Seconds,
    SecondsOrNever,
    Switch,
    Text,
    Url,
    Variable,
    Whole,
    Word,
    Wrong,
)

RIGHT: list[tuple[Kind, object, Any]] = [
    (Text(), "a", "a"),
    (Word(("a", "b")), "b", "b"),
    (Switch(), False, False),
    (Whole(1, 9), 9, 9),
    (Number(0, 1), 1, 1.0),
    (Nanos(), 0.15, 150_000_000),
    (Nanos(), 3, 3_000_000_000),
    (Seconds(), 90, 90),
    (Seconds(), 0.5, 0.5),
    (Seconds(), "90s", 90),
    (Seconds(), "1.5 h", 5400),
    (Seconds(), "15m", 900),
    (Seconds(), "30d", 2_592_000),
    (SecondsOrNever(), "2h", 7200),
    (SecondsOrNever(), "never", None),
    (Bytes(), 10, 10),
    (Bytes(), "10 GB", 10_000_000_000),
    (Bytes(), "64MiB", 64 << 20),
    (Bytes(), "1.5 kB", 1500),
    (Url(), "https://example.com:8443/v1", "https://example.com:8443/v1"),
    (Url(), "http://[::1]:8000", "http://[::1]:8000"),
    (Variable(), "OPENAI_API_KEY", "OPENAI_API_KEY"),
    (Variable(), "KEY_2", "KEY_2"),
    (Variable(), "vendor_key", "vendor_key"),
    (ListOf(Text(), "names"), ["a", "b"], ("a", "b")),
    (Json(), {"enable_thinking": False}, '{"enable_thinking":false}'),
    (
        Flags(),
        {"tp": 2, "eager": True, "cache": False, "lora": ["a", "b"]},
        {"tp": ("2",), "eager": (), "no-cache": (), "lora": ("a", "b")},
    ),
]


@pytest.mark.parametrize(("kind", "raw", "value"), RIGHT)
def test_what_is_right_becomes_its_value(kind: Kind, raw: object, value: Any) -> None:
    read = kind.read(raw)
    assert read == value and type(read) is type(value)


WRONG: list[tuple[Kind, object, str, str]] = [
    (Text(), 1, "the number 1", "quotes"),
    (Text(), " ", "an empty text", "leave the key out"),
    (Word(("debug", "info")), "debgu", 'the text "debgu"', "Did you mean debug?"),
    (Word(("a",)), 1, "the number 1", "quotes"),
    (Switch(), "true", 'the text "true"', "without quotes"),
    (Switch(), 1, "the number 1", "true or false"),
    (Whole(), "8", 'the text "8"', "without quotes"),
    (Whole(), 1.5, "the number 1.5", ""),
    (Whole(), True, "true", ""),
    (Whole(1), 0, "the number 0", "1 or more"),
    (Whole(1, 5), 6, "the number 6", "1 to 5"),
    (Number(), float("nan"), "the number nan", ""),
    (Number(0, 1), 50, "the number 50", "0 to 1"),
    (Nanos(), -1, "the number -1", "0 or more"),
    (Nanos(1), 50, "the number 50", "0 to 1"),
    (Nanos(), 1e-10, "the number 1e-10", ""),
    (Seconds(), "one hour", 'the text "one hour"', '"15m"'),
    (Seconds(), [1], "a list", '"15m"'),
    (Seconds(), float("inf"), "the number inf", ""),
    (Seconds(3600, 7200), "3h", "the number 3h", "1h to 2h"),
    (Bytes(), "10 gigs", 'the text "10 gigs"', '"10 GB"'),
    (Bytes(1), 0, "the number 0", "1 or more"),
    (Url(), "api.example.com/v1", 'the text "api.example.com/v1"', "http://"),
    (Url(), "http://host:port", 'the text "http://host:port"', "port"),
    (ListOf(Text(), "names"), "a", 'the text "a"', "brackets"),
    (ListOf(Text(), "names"), ["a", 1], "the number 1", "quotes"),
    (Json(), 1, "the number 1", "name = value"),
    (Flags(), {"--tp": 2}, 'the text "--tp"', "without its dashes"),
    (Flags(), {"tp": {"a": 1}}, "tp = a table", "texts and numbers"),
]


@pytest.mark.parametrize(("kind", "raw", "found", "remedy"), WRONG)
def test_what_is_wrong_says_what_was_found_and_how_to_mend_it(kind: Kind, raw: object, found: str, remedy: str) -> None:
    with pytest.raises(Wrong) as wrong:
        kind.read(raw)
    assert wrong.value.found == found and remedy in wrong.value.remedy
    assert wrong.value.allowed or kind.allowed


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-AbCdEf1234567890",
        "sk_live_51H8abcdef12345",
        "hf_AbCdEfGhIjKlMnOpQrStUvWx",
        "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "AKIAIOSFODNN7EXAMPLE",
        "0123456789abcdef0123456789abcdef",
        "DEADBEEFDEADBEEFDEADBEEFDEADBEEF",
        "Bearer abc",
    ],
)
def test_a_key_in_place_of_a_variables_name_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(Wrong) as wrong:
        Variable().read(secret)
    assert secret not in f"{wrong.value.found} {wrong.value.remedy} {wrong.value.allowed}"
    assert "environment variable" in wrong.value.remedy


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(Wrong) as wrong:
        Url().read("https://me:hunter2@example.com")
    assert "hunter2" not in f"{wrong.value.found} {wrong.value.remedy}" and "api_key_env" in wrong.value.remedy


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Whole(), "8", 8),
        (Number(), "0.5", 0.5),
        (Switch(), "False", False),
        (Switch(), "1", True),
        (Seconds(), "15m", 900),
        (Seconds(), "15", 15),
        (Bytes(), "1 GB", 10**9),
        (Nanos(1), "0.1", 100_000_000),
        (Text(), "8", "8"),
        (Word(("8",)), "8", "8"),
        (ListOf(Text(), "names"), "a, b,", ("a", "b")),
        (Json(), '{"a": 1}', '{"a":1}'),
        (Flags(), '{"tp": 2}', {"tp": ("2",)}),
    ],
)
def test_a_variable_says_the_same_in_text(kind: Kind, text: str, value: object) -> None:
    assert kind.read(kind.from_text(text)) == value
