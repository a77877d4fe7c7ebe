"""What several wires need."""

from pathlib import Path

import pytest

from tests.support import models


@pytest.fixture(scope="session")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision tower as wide as the demo model."""
    return models.eyes(tmp_path_factory.mktemp("models") / "eyes.gguf", width=256)
