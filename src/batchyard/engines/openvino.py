"""The openvino engine: the fast path for models that OpenVINO GenAI loads well, in a worker process; and pictures.

`can_load` says beforehand whether it can run a model, `makes_pictures` whether a folder is a pipeline that makes them;
`WITHOUT` names what requests of words may not ask.
"""

from pathlib import Path

import msgspec

from batchyard.domain.errors import NotFound
from batchyard.workers.engine import WorkerEngine
from batchyard.workers.openvino.able import WITHOUT, can_load
from batchyard.workers.openvino.config import Config
from batchyard.workers.openvino.pictures.folder import makes_pictures

__all__ = ["WITHOUT", "Config", "can_load", "makes_pictures", "open"]

WORKER = "batchyard.workers.openvino"

REMEDY = "Use the llamacpp engine, a smaller model or fewer slots; `batchyard doctor` looks at the installation."


def open(config: Config) -> WorkerEngine:
    """An engine for one GGUF file or OpenVINO folder. `start` raises NotFound where there is none."""
    return WorkerEngine(
        WORKER,
        msgspec.msgpack.encode(config),
        check=lambda: _check_path(config),
        remedy=REMEDY,
    )


def _check_path(config: Config) -> None:
    if not Path(config.model_path).exists():
        raise NotFound(
            f"There is no model {config.model_path}.", remedy="Give the path of a GGUF file or an OpenVINO folder."
        )
