"""What a model's files say beside its weights: tokens, template, stop ids, context."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from batchyard.domain.errors import Unavailable
from batchyard.workers.gguf import Gguf, NotGguf, read_gguf
from batchyard.workers.openvino.able import matching_tokenizer
from batchyard.workers.openvino.template import ChatTemplate
from batchyard.workers.openvino.tokens import Tokens, begin_token, tokens_of_file, tokens_of_gguf

END_WORDS = frozenset({"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end|>", "<end_of_turn>"})
"""Special tokens that end an answer even where a GGUF file names only one of them."""

PLAIN_CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""For models without a template, as llama.cpp does: ChatML."""


@dataclass(frozen=True)
class Source:
    tokens: Tokens
    template: ChatTemplate
    stop_ids: frozenset[int]
    context_tokens: int
    cache_bytes_per_token: int
    size_bytes: int


def read_source(path: Path) -> Source:
    """Read what belongs to a GGUF file or an OpenVINO folder. Raises Unavailable."""
    try:
        return _of_folder(path) if path.is_dir() else _of_gguf(path)
    except (OSError, NotGguf, ValueError, KeyError) as error:
        raise Unavailable(
            f"The model {path} cannot be read: {error}.",
            remedy="Give a whole GGUF file or a folder made by optimum-intel.",
        ) from error


def _of_gguf(path: Path) -> Source:
    file = read_gguf(path)
    beside = matching_tokenizer(file, path)
    words: list[str] = file.metadata["tokenizer.ggml.tokens"]
    return Source(
        tokens=tokens_of_gguf(file) if beside is None else tokens_of_file(beside, begin_token(file)),
        template=ChatTemplate(file.chat_template or PLAIN_CHAT, _named_words(file, words)),
        stop_ids=_stop_ids(file, words),
        context_tokens=file.context_tokens or 4096,
        cache_bytes_per_token=file.cache_bytes_per_token,
        size_bytes=file.size_bytes,
    )


def _named_words(file: Gguf, words: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name in ("bos", "eos", "unk"):
        number = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
        named[f"{name}_token"] = words[number] if isinstance(number, int) and number < len(words) else ""
    return named


def _stop_ids(file: Gguf, words: list[str]) -> frozenset[int]:
    named = [file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    spelled = [number for number, word in enumerate(words) if word in END_WORDS]
    return frozenset(number for number in [*named, *spelled] if isinstance(number, int))


def _of_folder(folder: Path) -> Source:
    config = _json(folder / "config.json")
    settings = _json(folder / "tokenizer_config.json")
    generation = _json(folder / "generation_config.json")
    heads = config.get("num_attention_heads") or 1
    width = config.get("head_dim") or config.get("hidden_size", 0) // heads
    words = {name: _word(settings.get(name)) for name in ("bos_token", "eos_token", "unk_token")}
    return Source(
        tokens=tokens_of_file(folder / "tokenizer.json"),
        template=ChatTemplate(_folder_template(folder, settings), words),
        stop_ids=_numbers(generation.get("eos_token_id", config.get("eos_token_id"))),
        context_tokens=config.get("max_position_embeddings") or 4096,
        cache_bytes_per_token=4 * config.get("num_hidden_layers", 0) * config.get("num_key_value_heads", heads) * width,
        size_bytes=(folder / "openvino_model.bin").stat().st_size,
    )


def _folder_template(folder: Path, settings: dict[str, Any]) -> str:
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        return alone.read_text(encoding="utf-8")
    told = settings.get("chat_template")
    if isinstance(told, list):  # several, by name
        named = cast("list[dict[str, str]]", told)
        told = next((one["template"] for one in named if one["name"] == "default"), None)
    return str(told) if told else PLAIN_CHAT


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _word(told: Any) -> str:
    return str(cast("dict[str, Any]", told)["content"]) if isinstance(told, dict) else str(told or "")


def _numbers(told: Any) -> frozenset[int]:
    return frozenset(cast("list[int]", told) if isinstance(told, list) else [] if told is None else [told])
