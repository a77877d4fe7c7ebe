"""What engines answer, told as Gemini tells it."""

from typing import Any

import pytest

from batchyard.dialects.gemini.answer import from_chat, from_pictures
from batchyard.dialects.gemini.generate import Manner


def answer(**message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "Rain.", **message}
    return {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": said}],
        "usage": {
            "prompt_tokens": 9, "completion_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 10},
        },
    }  # fmt: skip


def told(manner: Manner | None = None, **message: Any) -> dict[str, Any]:
    return from_chat(answer(**message), "m", manner or Manner())


def parts(response: dict[str, Any]) -> list[dict[str, Any]]:
    return response["candidates"][0]["content"]["parts"]


def test_words_are_a_part_of_the_model() -> None:
    response = told()
    assert response["candidates"][0]["content"] == {"role": "model", "parts": [{"text": "Rain."}]}
    assert (response["modelVersion"], response["responseId"]) == ("m", "chatcmpl-1")


def test_thoughts_are_counted_apart_and_in_the_total() -> None:
    usage = told()["usageMetadata"]
    assert (usage["promptTokenCount"], usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (9, 4, 10)
    assert (usage["totalTokenCount"], usage["cachedContentTokenCount"]) == (23, 4)


def test_thoughts_are_shown_where_they_were_asked_for() -> None:
    assert parts(told(reasoning_content="hm")) == [{"text": "Rain."}]
    shown = parts(told(Manner(thoughts=True), reasoning_content="hm"))
    assert shown == [{"text": "hm", "thought": True}, {"text": "Rain."}]


def test_calls_are_parts_with_their_arguments_read() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    assert parts(told(content=None, tool_calls=[call])) == [
        {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}
    ]


def test_a_call_whose_arguments_cannot_be_read_is_told_as_malformed() -> None:
    response = told(content=None, tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{"}}])
    assert response["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert parts(response) == [{"text": ""}]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        (None, "OTHER"),
    ],
)
def test_every_end_has_a_reason(said: str | None, reason: str) -> None:
    given = answer()
    given["choices"][0]["finish_reason"] = said
    assert from_chat(given, "m", Manner())["candidates"][0]["finishReason"] == reason


def test_a_value_of_an_enum_loses_its_quotes_where_that_was_asked() -> None:
    assert parts(told(Manner(bare=True), content='"RED"')) == [{"text": "RED"}]
    assert parts(told(content='"RED"')) == [{"text": '"RED"'}]


def test_logprobs_are_told_with_their_mean() -> None:
    given = answer()
    top = [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}]
    given["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": top}] * 2}
    candidate = from_chat(given, "m", Manner())["candidates"][0]
    assert candidate["avgLogprobs"] == -1.0
    assert candidate["logprobsResult"]["chosenCandidates"][0] == {"token": "a", "logProbability": -1.0}
    assert len(candidate["logprobsResult"]["topCandidates"][0]["candidates"]) == 2


def test_pictures_that_were_made_are_parts() -> None:
    response = from_pictures({"data": [{"b64_json": "AAAA"}, {"b64_json": "BBBB"}]}, "m", "r")
    shown = [candidate["content"]["parts"][0]["inlineData"] for candidate in response["candidates"]]
    assert shown == [{"mimeType": "image/png", "data": "AAAA"}, {"mimeType": "image/png", "data": "BBBB"}]


def test_pictures_of_one_choice_are_parts_of_one_candidate_beside_the_words() -> None:
    data = [{"b64_json": "AA", "index": 0, "text": "Two."}, {"b64_json": "BB", "index": 0}]
    response = from_pictures({"data": data, "output_format": "webp"}, "m", "r")
    shown = [{"inlineData": {"mimeType": "image/webp", "data": each}} for each in ("AA", "BB")]
    assert parts(response) == [{"text": "Two."}, *shown] and len(response["candidates"]) == 1


def test_a_prompt_that_was_written_anew_is_told() -> None:
    response = from_pictures({"data": [{"b64_json": "AA", "revised_prompt": "A boat."}]}, "m", "r")
    assert parts(response)[0] == {"text": "A boat."}


def test_words_that_came_instead_of_a_picture_are_told() -> None:
    [candidate] = from_pictures({"data": [], "text": "No."}, "m", "r")["candidates"]
    assert (candidate["finishReason"], candidate["content"]["parts"]) == ("NO_IMAGE", [{"text": "No."}])


def test_pictures_in_a_chat_are_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    response = told(Manner(pictures=True), images=[image])
    assert parts(response) == [{"text": "Rain."}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
    assert response["candidates"][0]["finishReason"] == "STOP"


def test_a_chat_that_should_have_shown_a_picture_and_did_not_says_so() -> None:
    response = told(Manner(pictures=True))
    assert response["candidates"][0]["finishReason"] == "NO_IMAGE"
    assert parts(response) == [{"text": "Rain."}]


def test_no_picture_is_told() -> None:
    assert from_pictures({"data": []}, "m", "r")["candidates"] == [{"index": 0, "finishReason": "NO_IMAGE"}]


@pytest.mark.parametrize("broken", [{}, {"choices": []}, {"choices": "x"}, {"choices": [5]}])
def test_an_answer_of_another_shape_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="answer has"):
        from_chat(broken, "m", Manner())
