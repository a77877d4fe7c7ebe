"""A Hugging Face folder from a Qwen2 GGUF and its tokenizer.json, for programs that load nothing else.

Names of tensors and of metadata: docs/gguf.md and gguf-py of llama.cpp; of the folder: transformers' Qwen2Config.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]

_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def make_hf_folder(model: Path, tokenizer: Path, folder: Path) -> Path:
    """Write config, weights (float32, as the quantized ones read) and tokenizer into the folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(model)
    tensors = {_tensor_name(each.name): _floats(each) for each in reader.tensors}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(reader, tied="lm_head.weight" not in tensors))
    _write(folder / "tokenizer_config.json", _tokenizer_config(reader))
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    return folder


def _floats(tensor: gguf.ReaderTensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)


def _tensor_name(name: str) -> str:
    """`blk.2.attn_q.weight` is `model.layers.2.self_attn.q_proj.weight`."""
    *place, kind = name.split(".")
    if place[0] == "blk":
        return f"model.layers.{place[1]}.{_LAYER[place[2]]}.{kind}"
    return f"{_WHOLE[place[0]]}.{kind}"


def _config(reader: gguf.GGUFReader, *, tied: bool) -> dict[str, object]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "hidden_size": _value(reader, "qwen2.embedding_length"),
        "intermediate_size": _value(reader, "qwen2.feed_forward_length"),
        "num_hidden_layers": _value(reader, "qwen2.block_count"),
        "num_attention_heads": _value(reader, "qwen2.attention.head_count"),
        "num_key_value_heads": _value(reader, "qwen2.attention.head_count_kv"),
        "max_position_embeddings": _value(reader, "qwen2.context_length"),
        "rms_norm_eps": _value(reader, "qwen2.attention.layer_norm_rms_epsilon"),
        "rope_theta": _value(reader, "qwen2.rope.freq_base"),
        "rope_parameters": {"rope_type": "default", "rope_theta": _value(reader, "qwen2.rope.freq_base")},
        "vocab_size": len(_value(reader, "tokenizer.ggml.tokens")),
        "tie_word_embeddings": tied,
        "use_sliding_window": False,
        "bos_token_id": None,
        "eos_token_id": _value(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _value(reader, "tokenizer.ggml.padding_token_id"),
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def _tokenizer_config(reader: gguf.GGUFReader) -> dict[str, object]:
    tokens = _value(reader, "tokenizer.ggml.tokens")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _value(reader, "qwen2.context_length"),
        "eos_token": tokens[_value(reader, "tokenizer.ggml.eos_token_id")],
        "pad_token": tokens[_value(reader, "tokenizer.ggml.padding_token_id")],
        "chat_template": _value(reader, "tokenizer.chat_template"),
    }


def _value(reader: gguf.GGUFReader, name: str) -> Any:
    field = reader.get_field(name)
    if field is None:
        raise KeyError(f"the GGUF has no {name}")
    return field.contents()


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))
