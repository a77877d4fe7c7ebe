"""A server for tests that need nothing special of it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.serving import Live, live


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live() as running:
        yield running
