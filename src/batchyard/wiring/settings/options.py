"""What was read, as what a server is told to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchyard.config import EngineFlag, Images, ImageSettings
from batchyard.domain.access import ModelLimits, Quota
from batchyard.domain.price import Price
from batchyard.server.options import (
    BatchOptions,
    ModelOptions,
    ProjectOptions,
    ServeOptions,
)

DATA_FOLDER = "batchyard-data"
DEMO = "demo"

Values = Mapping[str, Any]


def serve_options(values: Values, folder: str) -> ServeOptions:
    """Paths are meant from the `folder` that the file lies in."""
    server, retention = dict(values.get("server", {})), values.get("retention", {})
    data_folder = str(Path(folder, server.pop("data_folder", DATA_FOLDER)))
    defaults = ServeOptions(data_folder=data_folder)
    limits = values.get("limits", {})
    return ServeOptions(
        data_folder=data_folder,
        **server,
        **values.get("webhooks", {}),
        models=tuple(model_options(name, model, folder) for name, model in values.get("models", {}).items()),
        patient=True,
        quota=_only(Quota, limits),
        projects={name: _project(limits, own) for name, own in values.get("projects", {}).items()},
        windows={name: int(seconds) for name, seconds in values.get("windows", {}).items()},
        file_seconds=int(retention.get("files", defaults.file_seconds)),
        gemini_file_seconds=_or_never(retention.get("gemini_files", defaults.gemini_file_seconds)),
        upload_seconds=int(retention.get("uploads", defaults.upload_seconds)),
        batches=_only(BatchOptions, values.get("batches", {})),
        images=ImageSettings(**values.get("images", {})),
    )


def _or_never(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def model_options(name: str, values: Values, folder: str) -> ModelOptions:
    """One model's table."""
    own: dict[str, Any] = {key: value for key, value in values.items() if key in ModelOptions.__struct_fields__}
    prices = values.get("prices", {})
    for key in ("model", "mmproj", "chat_template"):
        if key in own and own[key] != DEMO:
            own[key] = beside(own[key], folder)
    flags: Mapping[str, tuple[str, ...]] = own.pop("engine_flags", {})
    if "images" in own:
        own["images"] = Images(own["images"])
    return ModelOptions(
        **own,
        name=name,
        engine_flags=tuple(EngineFlag(f"--{flag}", words) for flag, words in flags.items()),
        price=Price(**prices) if "input" in prices else None,
        limits=_only(ModelLimits, values),
    )


def beside(path: str, folder: str) -> str:
    """The path of something that lies in a folder; what does not lie there may be no path at all."""
    inside = Path(folder, path)
    return str(inside) if inside.exists() else path


def _project(limits: Values, own: Values) -> ProjectOptions:
    models = {name: _only(ModelLimits, model) for name, model in own.get("models", {}).items()}
    quota = _only(Quota, {**limits, **own, "models": models})
    return ProjectOptions(quota=quota, create=own.get("create", False))


def _only(kind: Any, values: Values) -> Any:
    """A struct of those values that it has fields for."""
    return kind(**{key: value for key, value in values.items() if key in kind.__struct_fields__})
