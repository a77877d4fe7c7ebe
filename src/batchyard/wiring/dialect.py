"""Which line dialect a run speaks."""

from collections.abc import Callable

from batchyard.config import Compat, RunOptions
from batchyard.dialect import LineDialect
from batchyard.dialects.lines import fastdeploy, openai, vllm
from batchyard.endpoints import ENDPOINTS
from batchyard.wiring.models import Names


def dialect_of(options: RunOptions, names: Names) -> Callable[[str], LineDialect]:
    """What makes the dialect of a run from the run's id."""
    known, default = names.known, names.default
    match options.compat:
        case Compat.VLLM:
            return lambda run_id: vllm.open(
                vllm.Config(run_id=run_id, endpoints=ENDPOINTS, models=known, default_model=default)
            )
        case Compat.FASTDEPLOY:
            return lambda run_id: fastdeploy.open(
                fastdeploy.Config(run_id=run_id, endpoints=ENDPOINTS, models=known, default_model=default)
            )
        case Compat.OPENAI:
            return lambda run_id: openai.open(
                openai.Config(run_id=run_id, endpoints=ENDPOINTS, models=known, default_model=default)
            )
