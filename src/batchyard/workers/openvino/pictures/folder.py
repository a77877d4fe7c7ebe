"""A folder with a pipeline that makes pictures, as `optimum-cli export openvino` lays one out, looked at from outside.

`model_index.json` says which network lies in which folder. Source: the layout of diffusers' pipelines, and what
Text2ImagePipeline loads.
"""

import json
from pathlib import Path
from typing import Any, cast

INDEX = "model_index.json"

PIPELINES = frozenset(
    {
        "StableDiffusionPipeline",
        "LatentConsistencyModelPipeline",
        "StableDiffusionXLPipeline",
        "StableDiffusion3Pipeline",
        "FluxPipeline",
        "Flux2KleinPipeline",
        "QwenImagePipeline",
        "ZImagePipeline",
    }
)
"""Those that OpenVINO GenAI makes pictures of words with."""

_DECODER = Path("vae_decoder", "config.json")
_NETWORKS = ("unet", "transformer")
_USUAL_LEVELS = 4


def makes_pictures(folder: Path) -> bool:
    """Whether a folder holds a pipeline that makes pictures, in OpenVINO's form."""
    return (folder / INDEX).is_file() and any(_network(folder, name).is_file() for name in _NETWORKS)


def why_not(folder: Path) -> str | None:
    """Why the pipeline cannot run; None where it can."""
    try:
        kind = _read(folder / INDEX).get("_class_name")
    except (OSError, ValueError) as error:
        return f"{INDEX} cannot be read: {error}"
    if kind not in PIPELINES:
        return f"its pipeline {kind} is not one of {', '.join(sorted(PIPELINES))}"
    if not (folder / _DECODER).is_file():
        return f"the folder has no {_DECODER}"
    return None


def grain(folder: Path) -> int:
    """What the sides of a picture are multiples of: a latent's width in pixels, twice that where it is cut in patches.

    Each level of the decoder but the last doubles a latent's sides.
    """
    try:
        levels: Any = _read(folder / _DECODER).get("block_out_channels")
    except (OSError, ValueError):
        levels = None
    count = len(cast("list[Any]", levels)) if isinstance(levels, list) else _USUAL_LEVELS
    patches = 2 if _network(folder, "transformer").is_file() else 1
    return max(8, patches * 2 ** (count - 1))


def _network(folder: Path, name: str) -> Path:
    return folder / name / "openvino_model.xml"


def _read(path: Path) -> dict[str, Any]:
    read = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(read, dict):
        raise ValueError("it is not a JSON object")
    return cast("dict[str, Any]", read)
