"""A Hugging Face folder of the Qwen2 or Llama kind as a GGUF file, for byte-level BPE tokenizers.

    python -m tools.demo_model.convert FOLDER OUT.gguf [f32|f16|bf16|q8_0]

Reads `config.json`, `tokenizer.json`, `tokenizer_config.json` and `model.safetensors`; needs gguf and safetensors, not
torch. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

ARCHITECTURES = {"Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama"}

FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}

QUANTIZATIONS = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}

TOP_TENSORS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}

LAYER_TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """What a Hugging Face folder says of its model."""

    folder: Path
    config: dict[str, Any]
    tokenizer: dict[str, Any]
    chat_template: str | None

    @property
    def architecture(self) -> str:
        return ARCHITECTURES[self.config["architectures"][0]]

    @property
    def head_size(self) -> int:
        return int(self.config.get("head_dim") or self.config["hidden_size"] // self.config["num_attention_heads"])

    @property
    def rope_theta(self) -> float:
        by_parameters = (self.config.get("rope_parameters") or {}).get("rope_theta", 10000.0)
        return float(self.config.get("rope_theta") or by_parameters)


def read_source(folder: Path) -> Source:
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    return Source(folder, config, tokenizer, _chat_template(folder))


def _chat_template(folder: Path) -> str | None:
    settings = folder / "tokenizer_config.json"
    template = json.loads(settings.read_text()).get("chat_template") if settings.exists() else None
    alone = folder / "chat_template.jinja"
    return template or (alone.read_text() if alone.exists() else None)


def convert(folder: Path, target: Path, file_type: str = "q8_0") -> None:
    """Write the folder's model as one GGUF file."""
    source = read_source(folder)
    writer = gguf.GGUFWriter(str(target), source.architecture)
    _add_shape(writer, source, file_type)
    _add_tokenizer(writer, source)
    for name, values in load_file(str(folder / "model.safetensors")).items():
        _add_tensor(writer, *_renamed(source, name, np.asarray(values, dtype=np.float32)), file_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: gguf.GGUFWriter, source: Source, file_type: str) -> None:
    config = source.config
    writer.add_name(source.folder.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(source.rope_theta)
    writer.add_rope_dimension_count(source.head_size)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(FILE_TYPES[file_type])
    writer.add_quantization_version(2)


def _add_tokenizer(writer: gguf.GGUFWriter, source: Source) -> None:
    tokens, types = _vocabulary(source)
    merges: list[Any] = source.tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in merges])
    end = source.config["eos_token_id"]
    writer.add_eos_token_id(end[0] if isinstance(end, list) else end)
    writer.add_bos_token_id(source.config.get("bos_token_id") or 0)
    writer.add_pad_token_id(source.config.get("pad_token_id") or 0)
    writer.add_add_bos_token(False)
    if source.chat_template:
        writer.add_chat_template(source.chat_template)


def _vocabulary(source: Source) -> tuple[list[str], list[int]]:
    """Tokens and their types by id; ids that the tokenizer does not know are filled up as unused."""
    added: list[dict[str, Any]] = source.tokenizer["added_tokens"]
    special = {token["content"] for token in added if token["special"]}
    by_id: dict[int, str] = {number: token for token, number in source.tokenizer["model"]["vocab"].items()}
    by_id.update({token["id"]: token["content"] for token in added})
    tokens: list[str] = []
    types: list[int] = []
    for number in range(source.config["vocab_size"]):
        token = by_id.get(number)
        tokens.append(f"[PAD{number}]" if token is None else token)
        types.append(_token_type(token, special))
    return tokens, types


def _token_type(token: str | None, special: set[str]) -> int:
    if token is None:
        return gguf.TokenType.UNUSED
    return gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL


def _renamed(source: Source, name: str, values: Floats) -> tuple[str, Floats]:
    if name in TOP_TENSORS:
        return TOP_TENSORS[name], values
    found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if found is None:
        raise ValueError(f"no place in GGUF is known for the tensor {name}")
    layer, part, kind = found.groups()
    if source.architecture == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
        heads = source.config["num_attention_heads" if part.endswith("q_proj") else "num_key_value_heads"]
        values = _paired(values, heads)
    return f"blk.{layer}.{LAYER_TENSORS[part]}.{kind}", values


def _paired(values: Floats, heads: int) -> Floats:
    """Rows in GGUF's rotary order: Llama there turns neighbouring pairs, in Hugging Face's files halves of a head."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _add_tensor(writer: gguf.GGUFWriter, name: str, values: Floats, file_type: str) -> None:
    if values.ndim == 1 or file_type == "f32":
        writer.add_tensor(name, values)
    elif file_type == "f16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        kind = QUANTIZATIONS[file_type]
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
