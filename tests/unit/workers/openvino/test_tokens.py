"""A rebuilt tokenizer must give the very ids of the original."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard import demo
from batchyard.workers.gguf import Gguf, read_gguf
from batchyard.workers.openvino.tokens import Tokens, tokens_of_file, tokens_of_gguf
from tools.demo_model.requests import batch

ORIGINAL = tokens_of_file(demo.tokenizer_path())
REBUILT = tokens_of_gguf(read_gguf(demo.model_path()))

WRITTEN = st.text(st.characters(codec="utf-8"), max_size=60) | st.lists(
    st.sampled_from(["What", " is", " 12", "+", "\n", "  ", "'s", "<|im_start|>", "<|im_end|>", "é", "日本", "\t", "."])
).map("".join)


@given(WRITTEN)
def test_a_rebuilt_tokenizer_splits_as_the_original(text: str) -> None:
    ids = ORIGINAL.of_chat(text)
    assert REBUILT.of_chat(text) == ids
    assert REBUILT.text(ids) == ORIGINAL.text(ids)


def test_it_splits_the_demo_s_requests_as_the_original() -> None:
    for line in batch()[0]:
        text = str(line["body"])
        assert REBUILT.of_chat(text) == ORIGINAL.of_chat(text)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_pieces_have_the_bytes_of_the_text(text: str) -> None:
    pieces = [REBUILT.piece(number) for number in REBUILT.of_chat(text)]
    assert b"".join(bytes(data) for _, data in pieces).decode() == text


def test_special_tokens_are_one_id_and_leave_no_text() -> None:
    ids = REBUILT.of_chat("<|im_start|>user\nhi<|im_end|>")
    assert ids[0] == 1
    assert ids[-1] == 2
    assert REBUILT.text(ids) == "user\nhi"


def qwen2_of(file: Gguf) -> Tokens:
    return tokens_of_gguf(Gguf({**file.metadata, "tokenizer.ggml.pre": "qwen2"}, file.tensors, file.size_bytes))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        # Qwen2 cuts numbers into digits, joins one sign with the word after it, and line ends with the signs before.
        ("12 34", ["1", "2", " ", "3", "4"]),
        ("a.\n\nb", ["a", ".", "\n", "\n", "b"]),
    ],
)
def test_qwen2_s_way_of_cutting_is_kept(text: str, pieces: list[str]) -> None:
    tokens = qwen2_of(read_gguf(demo.model_path()))
    assert [tokens.piece(number)[0] for number in tokens.of_chat(text)] == pieces


def test_a_begin_token_is_put_before_raw_prompts_only(tmp_path: Path) -> None:
    tokens = tokens_of_file(demo.tokenizer_path(), begin=0)
    assert tokens.of_prompt("hi")[0] == 0
    assert tokens.of_prompt("<|endoftext|>hi").count(0) == 1
    assert 0 not in tokens.of_chat("hi")
