"""Whether OpenVINO can run a model, found out without loading it."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from batchyard.workers.gguf import Gguf, NotGguf, read_gguf
from batchyard.workers.openvino.pictures import folder as pictures

PACKAGES = ("openvino_genai", "openvino", "tokenizers", "jinja2", "jsonschema", "numpy")
PICTURE_PACKAGES = ("openvino_genai", "openvino", "numpy", "PIL")

ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
WEIGHT_TYPES = frozenset({"f16", "q8_0", "q4_0"})
REBUILT = frozenset({"gpt-2", "qwen2"})
"""Pre-tokenizers that `tokens` rebuilds exactly."""

WITHOUT = frozenset(
    {"tools", "images", "top_logprobs", "logit_bias", "echo", "suffix", "best_of", "embeddings", "score", "rerank"}
)
"""What a request may ask of llama.cpp but not of this engine; lines that do are answered with status 400."""


def can_load(path: str) -> str | None:
    """Why OpenVINO cannot run this model; None where it can."""
    place = Path(path)
    paints = pictures.makes_pictures(place)
    absent = [name for name in (PICTURE_PACKAGES if paints else PACKAGES) if importlib.util.find_spec(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (pip install 'batchyard[openvino]')"
    if paints:
        return pictures.why_not(place)
    return _why_not_folder(place) if place.is_dir() else _why_not_gguf(place)


def _why_not_folder(folder: Path) -> str | None:
    for name in ("openvino_model.xml", "openvino_model.bin", "tokenizer.json", "config.json"):
        if not (folder / name).is_file():
            return f"the folder has no {name}"
    return None


def _why_not_gguf(path: Path) -> str | None:
    try:
        file = read_gguf(path)
    except (OSError, NotGguf) as error:
        return f"the file cannot be read: {error}"
    return _why_not_network(file) or _why_not_tokens(file, path)


def _why_not_network(file: Gguf) -> str | None:
    if file.architecture not in ARCHITECTURES:
        return f"the architecture {file.architecture} is not one of {', '.join(sorted(ARCHITECTURES))}"
    if file.embeds:
        return "embedding models run on llama.cpp"
    if file.number("expert_count"):
        return "mixtures of experts are not loaded from GGUF"
    others = file.weight_types - WEIGHT_TYPES
    if others:
        return f"weights of type {min(others)} are not one of {', '.join(sorted(WEIGHT_TYPES))}"
    if (
        "rope_freqs.weight" in file.tensors
        or file.metadata.get(f"{file.architecture}.rope.scaling.type", "none") != "none"
    ):
        return "scaled rotary positions are not loaded from GGUF"
    return None


def _why_not_tokens(file: Gguf, path: Path) -> str | None:
    """Its own GGUF tokenizer splits some texts wrongly, so tokens come from `tokenizers` or not at all."""
    if matching_tokenizer(file, path) is not None:
        return None
    kind = file.metadata.get("tokenizer.ggml.model")
    split = file.metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or split not in REBUILT:
        return (
            f"its tokenizer ({kind}, {split}) cannot be rebuilt, and there is no tokenizer.json of it beside the file"
        )
    return None


def matching_tokenizer(file: Gguf, path: Path) -> Path | None:
    """The tokenizer.json beside a GGUF file, where it is this model's: the same tokens under the same ids."""
    beside = path.with_name("tokenizer.json")
    try:
        told: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
        known: dict[str, int] = {token: int(number) for token, number in told["model"]["vocab"].items()}
        known.update({str(token["content"]): int(token["id"]) for token in told.get("added_tokens", [])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    tokens: list[str] = file.metadata.get("tokenizer.ggml.tokens", [])
    same = all(number < len(tokens) and tokens[number] == token for token, number in known.items())
    return beside if known and same else None
