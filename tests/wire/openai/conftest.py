"""Live servers for the official clients."""

from collections.abc import AsyncIterator

import pytest

from tests.support.serving import Live, a_house, live


@pytest.fixture
async def server() -> AsyncIterator[Live]:
    async with live(a_house()) as running:
        yield running
