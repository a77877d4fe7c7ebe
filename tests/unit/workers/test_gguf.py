from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard import demo
from batchyard.workers.gguf import NotGguf, Tensor, read_gguf


def a_file(path: Path, architecture: str = "llama", **fields: int | bool | list[int]) -> Path:
    """A GGUF file without tensors; fields belong to the architecture, with `__` for a dot."""
    writer = gguf.GGUFWriter(str(path), architecture)
    for name, value in fields.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_uint32(key, value)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_demo_model_is_read_without_loading_it() -> None:
    file = read_gguf(demo.model_path())
    assert file.architecture == "qwen2"
    assert file.context_tokens == 1024
    assert file.weight_types == {"q8_0"}
    assert file.tensors["output_norm.weight"] == Tensor("f32", 1)
    assert file.chat_template is not None
    assert "<|im_start|>" in file.chat_template
    assert not file.embeds
    # 3 layers of 4 heads of 32 numbers, keys and values, two bytes each.
    assert file.cache_bytes_per_token == 3 * 4 * 32 * 2 * 2


def test_what_turns_text_into_vectors_is_known(tmp_path: Path) -> None:
    assert read_gguf(a_file(tmp_path / "a", "bert")).embeds
    assert read_gguf(a_file(tmp_path / "b", "qwen3", pooling_type=3)).embeds
    assert read_gguf(a_file(tmp_path / "c", "gemma", attention__causal=False)).embeds
    ranker = read_gguf(a_file(tmp_path / "d", "qwen3", pooling_type=4))
    assert ranker.embeds
    assert ranker.ranks
    assert not read_gguf(a_file(tmp_path / "e", "qwen3", pooling_type=0)).embeds


def test_layers_with_heads_of_their_own_are_reckoned_by_the_largest(tmp_path: Path) -> None:
    shape: dict[str, Any] = {"block_count": 2, "embedding_length": 64, "attention__head_count": 4}
    file = read_gguf(a_file(tmp_path / "a", attention__head_count_kv=[1, 2], **shape))
    assert file.cache_bytes_per_token == 2 * 2 * 2 * (16 + 16)


@pytest.mark.parametrize("content", [b"", b"hello", b"GGUF", b"GGUF\x63\0\0\0" + bytes(16)])
def test_another_file_is_not_gguf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(NotGguf):
        read_gguf(path)


@given(st.floats(0, 0.999))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_was_cut_anywhere_is_refused(tmp_path: Path, part: float) -> None:
    whole = demo.model_path().read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(NotGguf):
        read_gguf(path)
