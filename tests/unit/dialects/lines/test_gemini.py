"""Rows of the Gemini batch service."""

import json
from typing import Any

import pytest

from batchyard.dialects.lines.gemini import Config, open
from batchyard.domain.line import Line, LineError
from batchyard.domain.result import Answer, Failure, Fault, Outcome, Result

JOB = open(Config(run_id="job", default_model="m"))


def row(key: Any = "a", text: str = "Hi", **request: Any) -> bytes:
    return json.dumps({"key": key, "request": {"contents": [{"parts": [{"text": text}]}], **request}}).encode()


def answered(text: str) -> Answer:
    message = {"role": "assistant", "content": text}
    return Answer(
        200, json.dumps({"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode()
    )


def told(reply: Answer | Failure, line: bytes) -> dict[str, Any]:
    result = JOB.told(Result(0, "a", Outcome.SUCCEEDED, reply), line)
    written = json.loads(JOB.write(result, line))
    assert ("response" in written) == (result.outcome is Outcome.SUCCEEDED and isinstance(reply, Answer) and reply.ok)
    return written


def test_a_row_asks_the_jobs_model_unless_it_names_one() -> None:
    assert json.loads(JOB.request(0, row()).body)["model"] == "m"
    assert JOB.request(0, row(model="models/other")).model == "other"


def test_a_bare_request_is_a_row_without_a_key() -> None:
    bare = b'{"contents": [{"parts": [{"text": "Hi"}]}]}'
    assert isinstance(JOB.read(1, bare), Line)
    assert told(answered("Yo"), bare).keys() == {"response"}


@pytest.mark.parametrize("key", ["a", 5, None, {"x": [1]}, ""])
def test_a_key_comes_back_as_it_was_given(key: Any) -> None:
    assert told(answered("Yo"), row(key))["key"] == key


def test_metadata_of_an_inline_request_comes_back() -> None:
    line = b'{"request": {"contents": [{"parts": [{"text": "Hi"}]}]}, "metadata": {"key": "x"}}'
    assert told(answered("Yo"), line)["metadata"] == {"key": "x"}


def test_equal_keys_are_no_fault() -> None:
    assert not JOB.unique_ids


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"{", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"key": "a"}', "no request"),
        (b'{"key": "a", "request": 5}', "no request"),
        (b'{"key": "a", "request": {}}', "no contents"),
        (b'{"key": "a", "config": {}, "request": {"contents": "x"}}', "'config'"),
        (row(generationConfig={"temprature": 1}), "temperature"),
    ],
)
def test_what_is_no_request_fails_the_file_and_is_explained(line: bytes, word: str) -> None:
    found = JOB.read(17, line)
    assert isinstance(found, LineError) and found.number == 17
    assert word in f"{found.message} {found.remedy}"


UNHONOURED: list[tuple[dict[str, Any], int]] = [
    ({"tools": [{"googleSearch": {}}]}, 12),
    ({"cachedContent": "cachedContents/x"}, 3),
]


@pytest.mark.parametrize(("request_", "code"), UNHONOURED)
def test_what_cannot_be_honoured_is_an_error_of_its_row(request_: dict[str, Any], code: int) -> None:
    line = row(**request_)
    found = JOB.read(1, line)
    assert isinstance(found, Result) and found.outcome is Outcome.ERRORED
    written = json.loads(JOB.write(found, line))
    assert written["key"] == "a" and written["error"]["code"] == code and "response" not in written


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Answer(400, b'{"error": {"message": "no"}}'), 3),
        (Answer(429, b'{"error": "slow"}'), 8),
        (Answer(500, b"oops"), 13),
        (Answer(503, b""), 14),
        (Failure("request_timeout", "late", Fault.LOST), 4),
        (Failure("batch_cancelled", "stopped", Fault.CANCELLED), 1),
        (Failure("whatever", "?"), 13),
    ],
)
def test_a_failure_is_told_by_its_number(reply: Answer | Failure, code: int) -> None:
    error = told(reply, row())["error"]
    assert error["code"] == code and error["message"] and "details" not in error


def test_what_breaks_lines_elsewhere_does_not_break_ours() -> None:
    text = 'a "quote"\n\u2028\u0085\U0001f600'
    written = JOB.write(JOB.told(Result(0, "a", Outcome.SUCCEEDED, answered(text)), row()), row())
    assert len(written.decode().splitlines()) == 1
    assert json.loads(written)["response"]["candidates"][0]["content"]["parts"][0]["text"] == text


def test_equal_questions_have_equal_digests_whatever_their_spelling() -> None:
    one = JOB.read(1, row(generationConfig={"temperature": 0, "maxOutputTokens": 3}))
    other = JOB.read(2, row("b", generation_config={"max_output_tokens": 3, "temperature": 0}))
    warm = JOB.read(3, row(generationConfig={"temperature": 1}))
    assert isinstance(one, Line) and isinstance(other, Line) and isinstance(warm, Line)
    assert one.digest and warm.digest == 0
    assert (one.prefix, one.output_tokens) == (other.prefix, 3)


def test_a_model_that_is_not_served_fails_the_file() -> None:
    job = open(Config(run_id="job", default_model="m", models=frozenset({"m"})))
    found = job.read(3, row(model="models/other"))
    assert isinstance(found, LineError) and found.code == "model_not_found"


def with_config(name: str, config: dict[str, Any]) -> bytes:
    return json.dumps({"key": "a", "request": {"contents": [{"parts": [{"text": "Hi"}]}], name: config}}).encode()


@pytest.mark.parametrize("name", ["generationConfig", "generation_config"])
def test_an_answer_is_told_as_its_row_asked_in_either_spelling(name: str) -> None:
    made = Answer(200, b'{"data": [{"b64_json": "AAAA"}]}')
    [candidate] = told(made, with_config(name, {"responseModalities": ["IMAGE"]}))["response"]["candidates"]
    assert candidate["content"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,BBBB"}}
    message = {"choices": [{"message": {"content": None, "images": [shown]}, "finish_reason": "stop"}]}
    chat = Answer(200, json.dumps(message).encode())
    [candidate] = told(chat, with_config(name, {"responseModalities": ["IMAGE"]}))["response"]["candidates"]
    assert candidate["content"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "BBBB"}}]
    enum: dict[str, Any] = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["RED"]}}
    [candidate] = told(answered('"RED"'), with_config(name, enum))["response"]["candidates"]
    assert candidate["content"]["parts"] == [{"text": "RED"}]
