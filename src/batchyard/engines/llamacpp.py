"""The llamacpp engine: any GGUF model, on llama.cpp in a worker process."""

from pathlib import Path

import msgspec

from batchyard.domain.errors import NotFound
from batchyard.workers.engine import WorkerEngine
from batchyard.workers.llamacpp.config import Config

__all__ = ["Config", "open"]

WORKER = "batchyard.workers.llamacpp"

REMEDY = "Try a smaller model, fewer slots or less context per slot; `batchyard doctor` looks at the installation."


def open(config: Config) -> WorkerEngine:
    """An engine for one model file. `start` raises NotFound where there is none."""
    return WorkerEngine(
        WORKER,
        msgspec.msgpack.encode(config),
        environment={"OMP_WAIT_POLICY": "passive"},
        check=lambda: _check_files(config),
        remedy=REMEDY,
    )


def _check_files(config: Config) -> None:
    for path in (config.model_path, config.mmproj_path):
        if path is not None and not Path(path).is_file():
            raise NotFound(f"There is no model file {path}.", remedy="Give the path of a GGUF file.")
