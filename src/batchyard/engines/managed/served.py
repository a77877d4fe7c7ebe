"""What a running program serves: paths, model names, context; asked of the program itself."""

from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard.transport.life import Life
from batchyard.transport.loopback import get


class _OpenApi(Struct):
    paths: dict[str, msgspec.Raw] = {}


class _Model(Struct):
    id: str
    max_model_len: int | None = None


class _Models(Struct):
    data: list[_Model] = []


async def served_paths(life: Life) -> frozenset[str]:
    """The paths that the program says it serves; empty where it does not say."""
    try:
        status, body = await get(life.launch.port, "/openapi.json", key=life.launch.key)
        return frozenset(msgspec.json.decode(body, type=_OpenApi).paths) if status == 200 else frozenset()
    except (OSError, msgspec.DecodeError):
        return frozenset()


async def served_models(life: Life) -> tuple[frozenset[str], int | None]:
    """The names that the program answers to (adapters have names of their own), and the context of its model."""
    try:
        status, body = await get(life.launch.port, "/v1/models", key=life.launch.key)
        models = msgspec.json.decode(body, type=_Models).data if status == 200 else []
    except (OSError, msgspec.DecodeError):
        return frozenset(), None
    return frozenset(model.id for model in models), models[0].max_model_len if models else None


class _HuggingFaceConfig(Struct):
    vision_config: msgspec.Raw | None = None


def may_see_images(model: str) -> bool:
    """False only where the model is a folder that says it has no vision; else the program itself will say."""
    try:
        text = (Path(model) / "config.json").read_bytes()
        return msgspec.json.decode(text, type=_HuggingFaceConfig).vision_config is not None
    except (OSError, msgspec.DecodeError):
        return not model.endswith(".gguf")
