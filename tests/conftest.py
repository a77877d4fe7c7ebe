"""Models that several suites need, made once; and how long properties may take to be drawn on a busy machine."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import models
from tests.support.tiny_painter import tiny_painter

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real embedding model."""
    return models.minilm(tmp_path_factory.mktemp("models") / "minilm.gguf")


@pytest.fixture(scope="session")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that makes pictures."""
    return tiny_painter(tmp_path_factory.mktemp("models") / "tiny-painter")
