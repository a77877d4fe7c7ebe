"""OpenVINO GenAI itself, imported in one place."""

import importlib
import sys
from typing import Any

from batchyard.domain.errors import Unavailable

DEVICE = "CPU"


def genai_library() -> Any:
    """The module. Raises Unavailable where it is not installed."""
    # Its telemetry writes into the home folder and calls home; without the package a stub takes its place.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino_genai")
    except ImportError as error:
        raise Unavailable(
            f"The OpenVINO engine is not installed: {error}.", remedy="Run: pip install 'batchyard[openvino]'"
        ) from error
