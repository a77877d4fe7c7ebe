"""How uploads begin and go on, in all the spellings that clients have."""

import pytest

from batchyard.dialects.gemini.resumable import Begun, Command, beginning, command
from batchyard.dialects.gemini.unfit import Unfit

START = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
WHOLE = Begun(None, "mine", "Mine", "text/plain", 5)


@pytest.mark.parametrize(
    "body",
    [
        b'{"file": {"name": "files/mine", "display_name": "Mine", "mime_type": "text/plain", "size_bytes": 5}}',
        b'{"file": {"name": "mine", "displayName": "Mine", "mimeType": "text/plain", "sizeBytes": "5"}}',
        b"{'file': {'name': 'mine', 'display_name': 'Mine', \"mimeType\": 'text/plain', 'size_bytes': 5}}",
        b'{"file": {"name": "mine", "displayName": "Mine", "mimeType": "text/plain", "sizeBytes": 5, "uri": ""}}',
    ],
)
def test_a_beginning_is_read_in_every_spelling(body: bytes) -> None:
    assert beginning(START, body, 9) == WHOLE


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"file": {}}', b'{"file": null}', b'{"file": {"name": ""}}'])
def test_headers_stand_for_what_the_body_does_not_say(body: bytes) -> None:
    headers = {
        **START,
        "x-goog-upload-header-content-length": "146",
        "x-goog-upload-header-content-type": "application/json",
        "x-goog-upload-file-name": "ä.jsonl".encode().decode("latin-1"),
    }
    assert beginning(headers, body, 9) == Begun("ä.jsonl", None, None, "application/json", 146)


def test_nothing_need_be_said_and_words_may_be_large() -> None:
    assert beginning({"x-goog-upload-command": " START "}, b"", 9) == Begun()


def test_quotes_within_quotes_stay_what_they_are() -> None:
    said = b"""{'file': {'display_name': 'a "b" it\\'s', "name": "it's"}}"""
    begun = beginning(START, said, 9)
    assert (begun.display_name, begun.name) == ('a "b" it\'s', "it's")


@pytest.mark.parametrize(
    ("headers", "body", "field"),
    [
        ({"x-goog-upload-protocol": "multipart"}, b"", "x-goog-upload-protocol"),
        ({"x-goog-upload-protocol": "raw"}, b"", "x-goog-upload-protocol"),
        ({"x-goog-upload-command": "start, upload"}, b"", "x-goog-upload-command"),
        ({"x-goog-upload-command": ""}, b"", "x-goog-upload-command"),
        ({"x-goog-upload-header-content-length": "-1"}, b"", "file.sizeBytes"),
        ({"x-goog-upload-header-content-length": "9" * 30}, b"", "file.sizeBytes"),
        ({}, b'{"file": {"display_nme": "x"}}', "file.displayNme"),
        ({}, b'{"file": {"name": 5}}', "file.name"),
        ({}, b'{"fil": {}}', "fil"),
        ({}, b'{"file": []}', "file"),
        ({}, b"{'file': ", ""),
        ({}, b"\xff'", ""),
        ({}, b"[]", ""),
    ],
)
def test_what_is_wrong_is_named(headers: dict[str, str], body: bytes, field: str) -> None:
    with pytest.raises(Unfit) as told:
        beginning({**START, **headers}, body, 9)
    assert told.value.field == field


@pytest.mark.parametrize(
    ("words", "offset", "meant"),
    [
        ("upload", "0", Command(offset=0)),
        ("upload, finalize", "8388608", Command(last=True, offset=8_388_608)),
        ("Upload,FINALIZE", " 5 ", Command(last=True, offset=5)),
        ("finalize", None, Command(last=True)),
        ("finalize", "7", Command(last=True, offset=7)),
        ("query", None, Command(query=True)),
        ("cancel", "9", Command(cancel=True)),
    ],
)
def test_a_command_is_read(words: str, offset: str | None, meant: Command) -> None:
    headers = {"x-goog-upload-command": words}
    assert command(headers if offset is None else headers | {"x-goog-upload-offset": offset}) == meant


@pytest.mark.parametrize(
    ("words", "offset"),
    [("", "0"), ("start", "0"), ("upload, cancel", "0"), ("upload", ""), ("upload", "-1"), ("upload", "1" * 19),
     ("upload, finalize", "x"), ("upload", "٣")],
)  # fmt: skip
def test_another_command_or_offset_is_refused(words: str, offset: str) -> None:
    with pytest.raises(Unfit):
        command({"x-goog-upload-command": words, "x-goog-upload-offset": offset})
