"""Models that several suites need, made once; logging left as it was; and how long properties may take to be drawn."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from batchyard.telemetry import logs
from tests.support import models
from tests.support.tiny_painter import tiny_painter

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that runs in the process of the tests sets logging up, and the next test would not see its events."""
    loggers = [logging.getLogger(name) for name in (logs.ROOT, logs.SERVER)]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real embedding model."""
    return models.minilm(tmp_path_factory.mktemp("models") / "minilm.gguf")


@pytest.fixture(scope="session")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that makes pictures."""
    return tiny_painter(tmp_path_factory.mktemp("models") / "tiny-painter")
