"""A receiver of webhook deliveries on loopback, and settings that let them reach it at once."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from batchyard.pipeline.notify import NotifySettings
from batchyard.policy.delivery import DeliverySchedule
from batchyard.wiring.webhooks import WebhookSettings
from tests.support.tenants import FakeClock
from tests.support.web_server import Exchange, Seen, Step, serving

AT_ONCE = NotifySettings(look_seconds=0.02, schedule=DeliverySchedule(first_pause_seconds=0))
LOOPBACK = WebhookSettings(allow_private=("127.0.0.1",), notify=AT_ONCE)


async def public(host: str, port: int) -> Sequence[str]:
    """Everything is on the public internet."""
    return ["1.1.1.1"]


PUBLIC = WebhookSettings(resolve=public)


class Receiver:
    """Answers deliveries with a status each, the last one again and again; tells the test of each."""

    def __init__(self, *statuses: int, clock: FakeClock | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._came: asyncio.Queue[Seen] = asyncio.Queue()
        self._clock = clock
        self._statuses = statuses or (200,)
        self.url = ""

    @contextmanager
    def listening(self) -> Generator["Receiver"]:
        with serving(*map(self._step, self._statuses)) as script:
            self.url = f"{script.url}hooks/?token=1"
            yield self

    def _step(self, status: int) -> Step:
        def step(exchange: Exchange) -> None:
            self._loop.call_soon_threadsafe(self._come, exchange.seen)
            exchange.reply(status, b"thanks", {"Location": "/elsewhere"} if status == 302 else {})

        return step

    def _come(self, seen: Seen) -> None:
        self._came.put_nowait(seen)
        if self._clock is not None:
            self._clock.time += 7

    async def next(self) -> Seen:
        async with asyncio.timeout(30):
            return await self._came.get()

    @property
    def count(self) -> int:
        return self._came.qsize()
