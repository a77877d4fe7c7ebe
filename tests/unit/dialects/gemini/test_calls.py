"""Bodies of calls that a model answers at once: whatever they are, they are read or refused by name."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.dialects.gemini import calls
from batchyard.dialects.gemini.count import count_tokens
from batchyard.dialects.gemini.unfit import Unfit

DEPTH = 128

GEMINI_NAMES = (
    "contents parts role text inlineData mime_type data fileData functionCall functionResponse name args response id "
    "systemInstruction generationConfig temperature topK stopSequences responseSchema responseJsonSchema type enum "
    "responseMimeType format properties propertyOrdering items anyOf nullable required thinkingConfig thinkingLevel "
    "thinkingBudget responseModalities mediaResolution imageConfig logprobs responseLogprobs tools toolConfig mode "
    "functionDeclarations functionCallingConfig allowedFunctionNames content requests outputDimensionality model "
    "generateContentRequest"
)
gemini_names = st.sampled_from(GEMINI_NAMES.split(" "))
gemini_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["user", "model", "STRING", "a/b", "image/png", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(gemini_names, inner, max_size=4),
    max_leaves=12,
)
parts = st.lists(st.dictionaries(gemini_names, gemini_values, max_size=2), max_size=3)


def a_request(said: list[Any], rest: dict[str, Any], named: str) -> dict[str, Any]:
    return {named: [{"parts": said}] if named == "contents" else {"parts": said}, **rest}


requests = st.builds(
    a_request, parts, st.dictionaries(gemini_names, gemini_values, max_size=3), st.sampled_from(["contents", "content"])
)
configs = st.dictionaries(gemini_names, gemini_values, max_size=3).map(
    lambda config: {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": config}
)
schemas = st.dictionaries(gemini_names, gemini_values, max_size=4).map(
    lambda schema: {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": {"responseSchema": schema}}
)
bodies = st.one_of(requests, configs, schemas, gemini_values).map(msgspec.json.encode) | st.binary(max_size=40)


@settings(max_examples=400, deadline=None)
@given(bodies | st.binary(max_size=40))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for read in (calls.generation, calls.embedding, calls.embeddings, calls.counted):
        try:
            said: Any = read(body, "m", DEPTH)
        except Unfit as unfit:
            assert str(unfit)
        else:
            assert msgspec.json.encode(said.body)
            if "messages" in said.body:
                assert count_tokens(said.body)["totalTokens"] >= 0


def test_a_body_that_nests_too_deep_is_refused() -> None:
    with pytest.raises(Unfit, match="deeper"):
        calls.generation(b'{"contents":' + b"[" * 200 + b"]" * 200 + b"}", "m", DEPTH)


def test_a_text_for_another_model_than_the_paths_is_refused() -> None:
    content = {"content": {"parts": [{"text": "a"}]}}
    body = msgspec.json.encode({"requests": [content, {"model": "models/n", **content}]})
    with pytest.raises(Unfit, match="'n'"):
        calls.embeddings(body, "m", DEPTH)
