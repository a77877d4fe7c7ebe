"""The lines of `vllm run-batch`. Source: the behaviour of vLLM 0.33 (`--compat vllm`)."""

from batchyard.dialect import LineDialect
from batchyard.dialects.lines._run_batch import Config, RunBatchDialect, Tool, failure_object

__all__ = ["Config", "open"]

VLLM = Tool(
    name="vllm",
    digits=16,
    only_400=False,
    wrong_url=lambda url, known: f"URL {url} is not a supported endpoint. Supported endpoints: {known}",
    failed=failure_object,
    malformed=lambda error: f"Invalid request on line {error.number}: {error.message}",
)


def open(config: Config) -> LineDialect:
    return RunBatchDialect(VLLM, config)
