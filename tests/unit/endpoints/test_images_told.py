"""Pictures asked for in a chat, and found in its answer."""

import json
from typing import Any

import pytest

from batchyard.endpoint import Problem
from batchyard.endpoints.images import AS_CHAT

Json = dict[str, Any]


def chat(**fields: Any) -> Json:
    body = AS_CHAT.request(json.dumps({"model": "m", "prompt": "a cat", **fields}).encode())
    assert isinstance(body, bytes)
    return json.loads(body)


def shown(url: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def pictures(*messages: Json, **fields: Any) -> Json:
    choices = [{"index": place, "message": message} for place, message in enumerate(messages)]
    answer = {"created": 7, "choices": choices, **fields}
    return json.loads(AS_CHAT.answer(json.dumps(answer).encode(), b"{}"))


def test_the_prompt_is_what_the_user_says_and_a_picture_is_what_comes_back() -> None:
    assert chat(seed=3, n=2) == {
        "model": "m",
        "seed": 3,
        "n": 2,
        "messages": [{"role": "user", "content": "a cat"}],
        "modalities": ["image", "text"],
    }


def test_a_size_is_told_in_every_way_that_servers_of_chats_know() -> None:
    told = chat(size="1024x576")
    assert (told["width"], told["height"]) == (1024, 576)
    assert told["image_config"] == {"aspect_ratio": "16:9"}
    assert "image_config" not in chat(size="1000x997")
    assert "width" not in chat(size="auto")


def test_what_means_nothing_in_a_chat_is_left_out_and_all_else_is_handed_on() -> None:
    told = chat(response_format="b64_json", quality="high", output_format="png", num_inference_steps=4)
    assert told.keys() == {"model", "messages", "modalities", "num_inference_steps"}


def test_a_body_that_is_no_object_is_a_problem() -> None:
    assert isinstance(AS_CHAT.request(b"[]"), Problem)


def test_pictures_of_a_message_are_found() -> None:
    told = pictures({"content": "Here.", "images": [shown("data:image/png;base64,AAAA")]})
    data = [{"b64_json": "AAAA", "index": 0, "text": "Here."}]
    assert told == {"created": 7, "data": data, "output_format": "png"}


def test_pictures_among_the_parts_of_the_content_are_found() -> None:
    parts = [{"type": "text", "text": "Two."}, shown("data:image/jpeg;base64,AA"), shown("data:image/jpeg;base64,BB")]
    told = pictures({"content": parts})
    assert [entry["b64_json"] for entry in told["data"]] == ["AA", "BB"]
    assert [entry.get("text") for entry in told["data"]] == ["Two.", None]
    assert told["output_format"] == "jpeg"


def test_it_is_told_of_which_choice_a_picture_is() -> None:
    one = {"content": None, "images": [shown("data:image/png;base64,AA")]}
    two = {"content": None, "images": [shown("data:image/png;base64,BB"), shown("data:image/png;base64,CC")]}
    assert [entry["index"] for entry in pictures(one, two)["data"]] == [0, 1, 1]


def test_a_model_that_only_talked_made_no_picture_and_its_words_are_kept() -> None:
    told = pictures({"content": "I would rather not."})
    assert (told["data"], told["text"]) == ([], "I would rather not.")


def test_an_address_is_no_picture() -> None:
    assert pictures({"content": None, "images": [shown("https://example.com/cat.png")]})["data"] == []


def test_tokens_are_counted_in_the_words_of_pictures() -> None:
    told = pictures({"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": 1290})
    assert told["usage"] == {"input_tokens": 5, "output_tokens": 1290, "total_tokens": 1295}


@pytest.mark.parametrize("broken", [b"[]", b"{}", b'{"choices":[]}', b'{"choices":[5]}', b"x"])
def test_what_is_no_answer_of_a_chat_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|JSON"):
        AS_CHAT.answer(broken, b"{}")
