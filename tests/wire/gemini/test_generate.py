"""Contents made by the official Gemini client's calls, over real HTTP."""

# The client names types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import asyncio
import base64
from typing import Any

import pytest
from google.genai import errors, types

from tests.support.genai import Asked, client_of, details_of, talking
from tests.support.serving import MODEL, Live, live

PNG = b"\x89PNG\r\n\x1a\n\xfb\xef\xbe\xff"
"""Bytes whose base64 differs between the alphabets."""


async def asked(engine: Asked, contents: Any = "hi", **config: Any) -> types.GenerateContentResponse:
    async with live(script=engine) as server, talking(server) as client:
        return await client.models.generate_content(
            model=MODEL, contents=contents, config=types.GenerateContentConfig(**config)
        )


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("path", ["", "/gemini"])
async def test_text_is_answered_under_every_version(server: Live, version: str, path: str) -> None:
    async with talking(server, version=version, path=path) as client:
        answer = await client.models.generate_content(model=MODEL, contents="say this")
    usage = answer.usage_metadata
    assert answer.text == "say this" and answer.model_version == MODEL and answer.response_id
    assert answer.candidates is not None and answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert usage is not None and (usage.prompt_token_count, usage.total_token_count) == (2, 4)


async def test_the_sync_client_works_too(server: Live) -> None:
    def talk() -> str | None:
        with client_of(server) as client:
            return client.models.generate_content(model=f"models/{MODEL}", contents="say this").text

    assert await asyncio.to_thread(talk) == "say this"


async def test_a_system_instruction_and_settings_reach_the_engine() -> None:
    engine = Asked()
    await asked(
        engine, system_instruction="be terse", temperature=0.2, top_p=0.9, top_k=10, max_output_tokens=64,
        stop_sequences=["END"], seed=7, presence_penalty=0.1, frequency_penalty=0.2,
    )  # fmt: skip
    assert engine.body == {
        "model": MODEL,
        "messages": [{"role": "system", "content": "be terse"}, {"role": "user", "content": "hi"}],
        "temperature": 0.2, "top_p": 0.9, "top_k": 10, "max_tokens": 64, "stop": ["END"], "seed": 7,
        "presence_penalty": 0.1, "frequency_penalty": 0.2,
    }  # fmt: skip


SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}


@pytest.mark.parametrize(
    "form",
    [
        {"response_schema": {"type": "OBJECT", "properties": {"n": {"type": "STRING"}}, "required": ["n"]}},
        {"response_json_schema": SCHEMA},
    ],
)
async def test_a_schema_of_either_kind_is_the_answers_form(form: dict[str, Any]) -> None:
    engine = Asked({"content": '{"n": "x"}'})
    answer = await asked(engine, response_mime_type="application/json", **form)
    assert engine.body["response_format"] == {
        "type": "json_schema", "json_schema": {"name": "response", "schema": SCHEMA},
    }  # fmt: skip
    assert answer.text == '{"n": "x"}'


WEATHER = {"name": "weather", "parameters_json_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


async def test_a_function_is_called() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    engine = Asked({"content": None, "tool_calls": [call]}, finish_reason="tool_calls")
    answer = await asked(engine, tools=[{"function_declarations": [WEATHER]}])
    assert engine.body["tools"][0]["function"]["parameters"] == WEATHER["parameters_json_schema"]
    (made,) = answer.function_calls or []
    assert (made.id, made.name, made.args) == ("c1", "weather", {"city": "Oslo"})


async def test_the_result_of_a_function_goes_to_the_call_that_asked_for_it() -> None:
    engine = Asked()
    await asked(
        engine,
        [
            types.Content(role="user", parts=[types.Part(text="Rain?")]),
            types.Content(role="model", parts=[types.Part.from_function_call(name="weather", args={"city": "Oslo"})]),
            types.Content(role="user", parts=[types.Part.from_function_response(name="weather", response={"a": 1})]),
        ],
    )
    called, told = engine.body["messages"][1:]
    assert called["tool_calls"][0]["id"] == told["tool_call_id"]
    assert (told["role"], told["content"]) == ("tool", '{"a":1}')


async def test_a_python_function_is_run_by_the_client_and_its_result_is_told() -> None:
    engine = Asked()
    call = {"id": "c1", "type": "function", "function": {"name": "double", "arguments": '{"number": 4}'}}
    asking = engine.message | {"content": None, "tool_calls": [call]}
    plain, engine.message = engine.message, asking

    def double(number: int) -> int:
        """Twice a number."""
        engine.message = plain
        return 2 * number

    answer = await asked(engine, tools=[double])
    assert answer.text == "Hello."
    assert engine.body["messages"][-1]["content"] == '{"result":8}'


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
async def test_a_picture_reaches_the_engine_whatever_the_alphabet_of_its_base64(encode: Any) -> None:
    engine = Asked()
    blob = {"mimeType": "image/png", "data": encode(PNG).decode().rstrip("=")}
    async with live(script=engine) as server:
        body = {"contents": [{"parts": [{"text": "What is it?"}, {"inlineData": blob}]}]}
        status, _ = await server.json("POST", f"/v1beta/models/{MODEL}:generateContent", body)
    url = engine.body["messages"][0]["content"][1]["image_url"]["url"]
    assert (status, url) == (200, "data:image/png;base64," + base64.b64encode(PNG).decode())


async def test_the_clients_own_picture_reaches_the_engine() -> None:
    engine = Asked()
    await asked(engine, ["What is it?", types.Part.from_bytes(data=PNG, mime_type="image/png")])
    url = engine.body["messages"][0]["content"][1]["image_url"]["url"]
    assert url == "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.mark.parametrize("wanted", [True, False])
async def test_thoughts_are_shown_to_those_who_ask(wanted: bool) -> None:
    engine = Asked({"reasoning_content": "Let me see."})
    thinking = types.ThinkingConfig(include_thoughts=wanted, thinking_budget=100)
    answer = await asked(engine, thinking_config=thinking)
    shown = [part.text for part in answer.parts or [] if part.thought]
    assert engine.body["reasoning_effort"] == "low"
    assert shown == (["Let me see."] if wanted else []) and answer.text == "Hello."


async def test_the_chances_of_tokens_are_told() -> None:
    other = {"token": "Ha", "logprob": -2.5, "bytes": None}
    token = {"token": "Hello.", "logprob": -0.5, "bytes": None, "top_logprobs": [other]}
    engine = Asked(logprobs={"content": [token]})
    answer = await asked(engine, response_logprobs=True, logprobs=1)
    assert (engine.body["logprobs"], engine.body["top_logprobs"]) == (True, 1)
    candidate = (answer.candidates or [])[0]
    chances = candidate.logprobs_result
    assert candidate.avg_logprobs == -0.5 and chances is not None
    assert [each.token for each in chances.chosen_candidates or []] == ["Hello."]
    assert [each.token for each in (chances.top_candidates or [])[0].candidates or []] == ["Ha"]


async def test_an_enum_comes_without_quotes() -> None:
    schema = {"type": "STRING", "enum": ["yes", "no"]}
    answer = await asked(Asked({"content": '"yes"'}), response_mime_type="text/x.enum", response_schema=schema)
    assert answer.text == "yes"


# What is refused


async def failing(engine: Asked) -> errors.APIError:
    async with live(script=engine) as server, talking(server) as client:
        with pytest.raises(errors.APIError) as caught:
            await client.models.generate_content(model=MODEL, contents="hi")
    return caught.value


async def refused(server: Live, body: Any, call: str = "generateContent", model: str = MODEL) -> dict[str, Any]:
    _, told = await server.json("POST", f"/v1beta/models/{model}:{call}", body)
    return told["error"]


async def test_a_bad_field_is_named(server: Live) -> None:
    with pytest.raises(errors.ClientError) as caught:
        async with talking(server) as client:
            await client.models.generate_content(model=MODEL, contents="hi", config={"logprobs": 3})
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert details_of(caught.value)["fieldViolations"][0]["field"] == "generationConfig.logprobs"


async def test_an_unknown_setting_is_refused_with_the_name_that_was_meant(server: Live) -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"temprature": 1}}
    told = await refused(server, body)
    assert (told["code"], told["status"]) == (400, "INVALID_ARGUMENT")
    assert "temprature" in told["message"] and "Did you mean 'temperature'?" in told["message"]


async def test_a_file_that_the_project_has_not_is_forbidden_as_the_service_says(server: Live) -> None:
    file = {"fileData": {"fileUri": "files/abc", "mimeType": "image/png"}}
    told = await refused(server, {"contents": [{"parts": [file]}]})
    assert (told["code"], told["status"]) == (403, "PERMISSION_DENIED")
    assert "'files/abc'" in told["message"]


NO_REQUESTS: list[Any] = [[], "x", None, {"contents": 5}, {"contents": []}, {"contents": [{"parts": [{}]}]}]


@pytest.mark.parametrize("body", NO_REQUESTS)
async def test_what_is_no_request_is_refused(server: Live, body: Any) -> None:
    assert (await refused(server, body))["status"] == "INVALID_ARGUMENT"


async def test_a_picture_cannot_be_asked_of_a_model_of_words(server: Live) -> None:
    body = {"contents": [{"parts": [{"text": "a cat"}]}], "generationConfig": {"responseModalities": ["IMAGE"]}}
    told = await refused(server, body)
    assert told["status"] == "INVALID_ARGUMENT" and "/v1/images/generations" in told["message"]


async def test_another_model_in_the_body_than_in_the_path_is_refused(server: Live) -> None:
    told = await refused(server, {"model": "models/x", "contents": [{"parts": [{"text": "a"}]}]})
    assert told["status"] == "INVALID_ARGUMENT" and "'x'" in told["message"]


async def test_an_unknown_model_is_not_found_and_the_remedy_names_the_aliases(server: Live) -> None:
    with pytest.raises(errors.ClientError) as caught:
        async with talking(server) as client:
            await client.models.generate_content(model="gemini-3.6-flash", contents="hi")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    assert "aliases" in (caught.value.message or "")


async def test_an_alias_answers_under_the_name_that_was_asked(server: Live) -> None:
    models = server.house.models
    models.add(models.find(MODEL), aliases=["gemini-3.6-flash"])
    async with talking(server) as client:
        answer = await client.models.generate_content(model="gemini-3.6-flash", contents="hi")
    assert (answer.text, answer.model_version) == ("hi", "gemini-3.6-flash")


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [(400, 400, "INVALID_ARGUMENT"), (401, 500, "INTERNAL"), (429, 429, "RESOURCE_EXHAUSTED"),
     (500, 500, "INTERNAL"), (503, 503, "UNAVAILABLE")],
)  # fmt: skip
async def test_what_an_engine_refuses_is_told_in_the_wires_words(status: int, code: int, word: str) -> None:
    failed = await failing(Asked(status=status, error={"message": "No."}))
    assert (failed.code, failed.status) == (code, word)


async def test_an_answer_that_is_none_is_our_fault() -> None:
    failed = await failing(Asked(choices=[]))
    assert (failed.code, failed.status) == (500, "INTERNAL")
