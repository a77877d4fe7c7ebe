"""GenerateContent requests in an engine's words."""

import base64
import json
from typing import Any

import pytest

from batchyard.dialects.gemini.generate import CHAT, IMAGES, Asked, asked
from batchyard.dialects.gemini.unfit import Rpc, Shapeless, Unfit
from batchyard.domain.attachment import Attachment, attachment

PNG = b"\x89PNG\xfb\xff"
A_PICTURE = {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}


def _unpadded(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def request(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts) or [{"text": "Hi"}]}], **fields}


def chat(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    read = asked(request(*parts, **fields))
    assert read.endpoint == CHAT
    return read.body


def config(**fields: Any) -> dict[str, Any]:
    return chat(generationConfig=fields)


def test_a_lone_text_is_plain_content() -> None:
    assert chat()["messages"] == [{"role": "user", "content": "Hi"}]


def test_a_system_instruction_comes_first_whatever_its_role() -> None:
    told = chat(system_instruction={"role": "user", "parts": [{"text": "Be"}, {"text": "brief"}]})
    assert told["messages"][0] == {"role": "system", "content": "Be\nbrief"}


def test_a_string_is_one_users_words() -> None:
    assert asked({"contents": "Hi"}).body["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, _unpadded])
@pytest.mark.parametrize(
    "spelled", [("inlineData", "mimeType"), ("inline_data", "mime_type"), ("inlineData", "mime_type")]
)
def test_a_picture_in_any_spelling_is_a_data_url(encode: Any, spelled: tuple[str, str]) -> None:
    blob = {spelled[1]: "image/png", "data": encode(PNG).decode()}
    content = chat({"text": "What?"}, {spelled[0]: blob})["messages"][0]["content"]
    assert content[0] == {"type": "text", "text": "What?"}
    head, data = content[1]["image_url"]["url"].split(",")
    assert head == "data:image/png;base64" and base64.b64decode(data) == PNG


def test_text_sent_as_data_is_text() -> None:
    data = base64.b64encode("Grüße".encode()).decode()
    assert chat({"inlineData": {"mimeType": "text/plain", "data": data}})["messages"][0]["content"] == "Grüße"


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:8000/v1beta/files/abc123",
        "https://generativelanguage.googleapis.com/v1beta/files/abc123",
        "http://host/gem/v1/files/abc123",
        "files/abc123",
        "abc123",
    ],
)
def test_a_file_is_a_reference_to_one_of_ours(uri: str) -> None:
    part = {"fileData": {"mime_type": "image/jpeg", "file_uri": uri}}
    [shown] = chat(part)["messages"][0]["content"]
    assert attachment(shown["image_url"]["url"]) == Attachment("files/abc123", "image/jpeg")


@pytest.mark.parametrize("mime", [{"mimeType": "image/png"}, {}])
def test_a_picture_elsewhere_stays_its_url(mime: dict[str, str]) -> None:
    url = "HTTPS://elsewhere.example/x.png?a=b"
    [shown] = chat({"fileData": {"fileUri": url, **mime}})["messages"][0]["content"]
    assert shown == {"type": "image_url", "image_url": {"url": url}}


def test_what_is_elsewhere_and_no_picture_is_refused() -> None:
    with pytest.raises(Unfit, match="Only pictures") as refused:
        chat({"fileData": {"fileUri": "https://elsewhere.example/x.pdf", "mimeType": "application/pdf"}})
    assert not refused.value.shapeless


@pytest.mark.parametrize("uri", ["gs://bucket/x.png", "file:///etc/passwd"])
def test_a_file_from_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(Unfit, match="not a file of this server") as refused:
        chat({"fileData": {"fileUri": uri}})
    assert not refused.value.shapeless


def test_a_conversation_with_calls_and_their_answers() -> None:
    contents: list[dict[str, Any]] = [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "w", "args": {"c": 1}}},
                                    {"functionCall": {"name": "w", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"r": 1}}}, {"text": "And?"},
                                   {"functionResponse": {"name": "w", "response": {"r": 2}}}]},
        {"role": "model", "parts": [{"thought": True, "text": "hm"}, {"text": "Rain."}]},
    ]  # fmt: skip
    said = asked({"contents": contents}).body["messages"]
    assert [m["role"] for m in said] == ["user", "assistant", "tool", "tool", "user", "assistant"]
    calls = said[1]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"c": 1}, {}]
    assert [said[2]["tool_call_id"], said[3]["tool_call_id"]] == [call["id"] for call in calls]
    assert said[4]["content"] == "And?" and said[5]["content"] == "Rain."


def test_sampling_is_said_in_the_chats_words() -> None:
    read = config(
        temperature=0.2, topP=0.9, topK=10.0, candidateCount=2, maxOutputTokens="64", stopSequences=["END"], seed=7,
        responseLogprobs=True, logprobs=3, presencePenalty=0.1, frequencyPenalty=0.2,
    )  # fmt: skip
    del read["messages"]
    assert read == {
        "temperature": 0.2, "top_p": 0.9, "top_k": 10, "n": 2, "max_tokens": 64, "stop": ["END"], "seed": 7,
        "logprobs": True, "top_logprobs": 3, "presence_penalty": 0.1, "frequency_penalty": 0.2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"thinking_budget": 0}, "none"),
        ({"thinkingBudget": -1}, None),
        ({"thinkingBudget": 1024}, "low"),
        ({"thinkingBudget": 8192}, "medium"),
        ({"thinkingBudget": 8193}, "high"),
        ({"thinkingLevel": "MINIMAL"}, "minimal"),
    ],
)
def test_thinking_is_an_effort(thinking: dict[str, Any], effort: str | None) -> None:
    assert config(thinkingConfig=thinking).get("reasoning_effort") == effort


def test_both_kinds_of_schema_reach_the_engine_as_json_schema() -> None:
    plain = {"type": "object", "properties": {"a_b": {"type": "string"}}}
    assert _schema(config(responseMimeType="application/json", response_json_schema=plain)) == plain
    properties = {"n": {"type": "STRING", "nullable": True}}
    inner = {"type": "OBJECT", "properties": properties, "property_ordering": ["n"], "required": ["n"]}
    own = {"type": "ARRAY", "items": inner, "min_items": "1"}
    assert _schema(config(responseSchema=own)) == {
        "type": "array", "minItems": 1,
        "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": ["string", "null"]}}},
    }  # fmt: skip


def test_two_schemas_are_one_too_many() -> None:
    with pytest.raises(Unfit, match="two schemas"):
        config(responseSchema={"type": "STRING"}, responseJsonSchema={"type": "string"})


def test_properties_come_in_the_order_asked_for() -> None:
    properties = {name: {"type": "STRING"} for name in "abc"}
    schema = _schema(
        config(responseSchema={"type": "OBJECT", "properties": properties, "propertyOrdering": ["c", "a"]})
    )
    assert list(schema["properties"]) == ["c", "a", "b"]


def test_functions_of_all_tools_are_one_list() -> None:
    tools: list[dict[str, Any]] = [
        {"functionDeclarations": [{"name": "a", "parameters": {"type": "OBJECT", "properties": {}}}]},
        {"function_declarations": [{"name": "b", "parameters_json_schema": {"type": "object", "x_y": 1}}]},
    ]
    read = chat(tools=tools)
    assert [tool["function"]["name"] for tool in read["tools"]] == ["a", "b"]
    assert read["tools"][1]["function"]["parameters"] == {"type": "object", "x_y": 1}
    assert read["tool_choice"] == "auto"


@pytest.mark.parametrize(
    ("calling", "choice", "kept"),
    [
        ({"mode": "NONE"}, "none", ["a", "b"]),
        ({"mode": "ANY"}, "required", ["a", "b"]),
        ({"mode": "ANY", "allowed_function_names": ["b"]}, {"type": "function", "function": {"name": "b"}}, ["a", "b"]),
        ({"mode": "VALIDATED"}, "auto", ["a", "b"]),
    ],
)
def test_modes_of_calling_are_choices(calling: dict[str, Any], choice: object, kept: list[str]) -> None:
    tools = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
    read = chat(tools=tools, toolConfig={"functionCallingConfig": calling})
    assert read["tool_choice"] == choice
    assert [tool["function"]["name"] for tool in read["tools"]] == kept


def test_a_tool_that_runs_elsewhere_is_refused_by_name() -> None:
    with pytest.raises(Unfit, match="googleSearch") as refused:
        chat(tools=[{"google_search": {}}])
    assert refused.value.code is Rpc.UNIMPLEMENTED and not refused.value.shapeless


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"generationConfig": {"temprature": 1}}, "generationConfig.temprature"),
        ({"config": {}}, "config"),
        ({"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"contents": []}, "contents"),
        ({"contents": [{"parts": [{"txt": "x"}]}]}, "contents[0].parts[0].txt"),
    ],
)
def test_what_nobody_knows_is_no_request(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Shapeless) as refused:
        asked(request() | fields)
    assert refused.value.field == field


def test_a_misspelt_field_is_told_its_name() -> None:
    with pytest.raises(Shapeless, match="Did you mean 'temperature'"):
        config(temprature=1)


def test_what_steers_a_service_changes_nothing() -> None:
    plain = chat()
    assert chat(safetySettings=[{"category": "X"}], labels={"a": "b"}, serviceTier="flex", store=True) == plain


def test_a_picture_to_be_made_goes_to_the_endpoint_of_pictures() -> None:
    wanted = request(
        {"text": "A red boat"},
        generation_config={"response_modalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "16:9"}, "seed": 4},
    )
    read = asked(wanted)
    assert read.endpoint == IMAGES
    assert read.body == {"prompt": "A red boat", "response_format": "b64_json", "seed": 4, "size": "1024x576"}


def picturing(*parts: dict[str, Any], config: dict[str, Any] | None = None, **fields: Any) -> Asked:
    wanted = {"responseModalities": ["TEXT", "IMAGE"], **(config or {})}
    return asked(request(*(parts or [{"text": "A boat"}]), generationConfig=wanted, **fields))


def test_all_words_of_a_request_are_the_prompt_the_systems_first() -> None:
    contents = [
        {"role": "user", "parts": [{"text": "A boat."}]},
        {"role": "model", "parts": [{"text": "Which colour?"}]},
        {"role": "user", "parts": [{"text": "Red."}, {"text": "At night."}]},
    ]
    read = picturing(systemInstruction={"parts": [{"text": "Draw in oil."}]}, contents=contents)
    assert read.body["prompt"] == "Draw in oil.\nA boat.\nWhich colour?\nRed.\nAt night."


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ({"aspectRatio": "16:9"}, "1024x576"),
        ({"aspectRatio": "9:16", "imageSize": "2K"}, "1152x2048"),
        ({"imageSize": "512"}, "512x512"),
        ({"aspectRatio": "3:2"}, "1024x688"),
        ({"aspectRatio": "1:32", "imageSize": "512"}, "16x512"),
    ],
)
def test_a_size_by_name_and_ratio_is_told_in_pixels_that_every_model_takes(image: dict[str, Any], size: str) -> None:
    assert picturing(config={"imageConfig": image}).body["size"] == size


def test_how_many_pictures_and_in_which_format_is_told() -> None:
    options = {"mimeType": "image/jpeg", "compressionQuality": 80}
    body = picturing(config={"candidateCount": 2, "imageConfig": {"imageOutputOptions": options}}).body
    assert (body["n"], body["output_format"], body["output_compression"]) == (2, "jpeg", 80)


@pytest.mark.parametrize(
    ("image", "field"),
    [
        ({"aspectRatio": "wide"}, "aspectRatio"),
        ({"imageSize": "8K"}, "imageSize"),
        ({"imageOutputOptions": {"mimeType": "image/gif"}}, "imageOutputOptions.mimeType"),
        ({"colour": "red"}, "colour"),
    ],
)
@pytest.mark.parametrize("parts", [[{"text": "A boat"}], [{"text": "Blue"}, {"inlineData": A_PICTURE}]])
def test_a_wish_about_pictures_that_nobody_knows_is_refused(
    parts: list[dict[str, Any]], image: dict[str, Any], field: str
) -> None:
    with pytest.raises(Unfit) as refused:
        picturing(*parts, config={"imageConfig": image})
    assert refused.value.field == f"generationConfig.imageConfig.{field}"


def test_a_picture_without_words_cannot_be_made() -> None:
    with pytest.raises(Unfit, match="no words") as refused:
        picturing({"text": "  "})
    assert refused.value.field == "contents"


def test_a_request_that_shows_a_picture_asks_for_one_in_a_chat() -> None:
    image = {"aspectRatio": "16:9", "imageSize": "2K"}
    read = picturing({"text": "Make it blue"}, {"inlineData": A_PICTURE}, config={"imageConfig": image, "seed": 3})
    assert read.endpoint == CHAT and read.manner.pictures
    assert read.body["modalities"] == ["image", "text"] and read.body["seed"] == 3
    assert read.body["image_config"] == {"aspect_ratio": "16:9", "image_size": "2K"}
    assert [part["type"] for part in read.body["messages"][0]["content"]] == ["text", "image_url"]


def test_the_format_of_a_picture_cannot_be_chosen_in_a_chat() -> None:
    image = {"imageOutputOptions": {"mimeType": "image/jpeg"}}
    with pytest.raises(Unfit, match="format"):
        picturing({"text": "Blue"}, {"inlineData": A_PICTURE}, config={"imageConfig": image})


def test_a_file_that_is_shown_asks_for_a_picture_in_a_chat_too() -> None:
    assert picturing({"text": "Blue"}, {"fileData": {"fileUri": "files/abc"}}).endpoint == CHAT


def test_sound_is_not_made_here() -> None:
    with pytest.raises(Unfit, match="AUDIO") as refused:
        config(responseModalities=["AUDIO"])
    assert refused.value.code is Rpc.UNIMPLEMENTED


def test_a_request_may_name_its_model() -> None:
    assert asked(request(model="models/other")).model == "other"
    assert asked(request()).model is None


def _schema(read: dict[str, Any]) -> dict[str, Any]:
    return read["response_format"]["json_schema"]["schema"]
