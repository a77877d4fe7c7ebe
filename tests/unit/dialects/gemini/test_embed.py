"""Embeddings on the Gemini wire."""

from typing import Any

import pytest

from batchyard.dialects.gemini.embed import asked_vector, cut, from_embedding, vector_of
from batchyard.dialects.gemini.unfit import Shapeless, Unfit


def test_the_words_of_all_parts_are_embedded_together() -> None:
    asked = asked_vector({"output_dimensionality": "3", "content": {"parts": [{"text": "a"}, {"text": "b"}]}})
    assert (asked.text, asked.values, asked.model) == ("a\nb", 3, None)


NOTHING: list[Any] = [{"parts": []}, {"parts": [{"text": ""}]}, {"parts": [{"inlineData": {}}]}]


@pytest.mark.parametrize("content", NOTHING)
def test_nothing_to_embed_is_an_error_of_the_row(content: object) -> None:
    with pytest.raises(Unfit) as refused:
        asked_vector({"content": content})
    assert not refused.value.shapeless


def test_a_field_that_nobody_knows_is_no_request() -> None:
    with pytest.raises(Shapeless, match="outputDimensionality"):
        asked_vector({"content": {"parts": [{"text": "a"}]}, "outputDimension": 3})


def test_a_vector_is_cut_at_its_end_and_not_normalised() -> None:
    answer = {"data": [{"embedding": [3.0, 4.0, 12.0]}], "usage": {"prompt_tokens": 2}}
    assert from_embedding(answer, 2) == {"tokenCount": "2", "embedding": {"values": [3.0, 4.0]}}


def test_a_vector_cannot_be_longer_than_the_models() -> None:
    with pytest.raises(Unfit, match="have 2 values, 3"):
        cut([1.0, 2.0], 3)


def test_a_vector_in_base64_is_read() -> None:
    assert vector_of("AACAPwAAAEA=") == [1.0, 2.0]
