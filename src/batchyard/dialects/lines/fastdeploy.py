"""The lines of `fastdeploy run-batch` (`--compat fastdeploy`). Source: the behaviour of FastDeploy 2."""

from batchyard.dialect import LineDialect
from batchyard.dialects.lines._ascii import quoted
from batchyard.dialects.lines._run_batch import Config, RunBatchDialect, Tool

__all__ = ["Config", "open"]

FASTDEPLOY = Tool(
    name="fastdeploy",
    digits=32,
    only_400=True,
    wrong_url=lambda url, known: f"URL {url} was used. Supported endpoints: {known}",
    failed=lambda failure: quoted(f"Request processing failed: {failure.message}"),
    malformed=lambda error: error.message,
)


def open(config: Config) -> LineDialect:
    return RunBatchDialect(FASTDEPLOY, config)
