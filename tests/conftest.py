"""Models that several suites need, made once."""

from pathlib import Path

import pytest

from tests.support import models


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real embedding model."""
    return models.minilm(tmp_path_factory.mktemp("models") / "minilm.gguf")
