from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from batchyard.workers.engine import WorkerEngine
from tests.support import models
from tests.support.embedded import ENGINES

Started = Callable[..., Awaitable[WorkerEngine]]
"""`await started("llamacpp", **options)`: an engine that is closed after the test."""


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    engines: list[WorkerEngine] = []

    async def start(kind: str, **options: Any) -> WorkerEngine:
        engine = ENGINES[kind](**options)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.close()


@pytest.fixture(scope="session")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.reranker(tmp_path_factory.mktemp("models") / "reranker.gguf")


@pytest.fixture(scope="session")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision tower as wide as the demo model."""
    return models.eyes(tmp_path_factory.mktemp("models") / "eyes.gguf", width=256)
