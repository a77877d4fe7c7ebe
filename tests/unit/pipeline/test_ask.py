"""Engines of several models, asked side by side."""

import asyncio
from collections.abc import Iterator
from random import Random

from batchyard.config import DispatchSettings
from batchyard.domain.errors import Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Reply
from batchyard.engine import Abilities
from batchyard.engines import echo
from batchyard.pipeline.ask import AGAIN_SECONDS, Asked, Asking
from batchyard.pipeline.backlog import Held
from batchyard.pipeline.share import Shares, Sharing
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.underway import Underway
from tests.support.memory_journal import MemoryJournal
from tests.support.tenants import FakeClock, TurnsOffload, a_batch
from tests.support.virtual_time import in_virtual_time

CHAT = "/v1/chat/completions"


class Yard:
    """Engines of models, which may come and go, and what was recorded of their answers."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.sharings: dict[str, Sharing] = {}
        self.stop = Stop()
        self.tried: list[tuple[str, float]] = []

    def serve(self, model: str, seconds: float = 0.0) -> None:
        async def script(request: Request) -> Reply | None:
            await asyncio.sleep(seconds)
            return None

        abilities = Abilities(endpoints=frozenset({CHAT}), models=None, slots=1)
        self.sharings[model] = Sharing(echo.open(echo.Config(script=script)), abilities, FakeClock())

    def engine_of(self, model: str) -> Sharing:
        self.tried.append((model, asyncio.get_running_loop().time()))
        if model not in self.sharings:
            raise Unavailable(f"nobody for {model}")
        return self.sharings[model]

    def asking(self) -> Asking:
        return Asking(
            batch=a_batch(), engine_of=self.engine_of, journal=self.journal, settings=DispatchSettings(),
            stop=self.stop, shares=Shares(), random=Random(1), underway=Underway(TurnsOffload()),
            retried=lambda model, retries: None, held=Held(),
        )  # fmt: skip

    def asked(self, model: str, *places: int) -> Asked:
        def requests() -> Iterator[Request]:
            done = set(self.journal.results)
            return (a_request(model, place) for place in places if place not in done)

        return Asked(model, requests)


def a_request(model: str, place: int) -> Request:
    return Request(place, f"l{place}", CHAT, model, b'{"messages":[{"content":"hi"}]}')


def test_a_model_that_is_away_is_tried_again_while_others_are_asked() -> None:
    async def walk() -> None:
        yard = Yard()
        yard.serve("slow", 10 * AGAIN_SECONDS)
        asyncio.get_running_loop().call_later(1.5 * AGAIN_SECONDS, yard.serve, "away")
        assert await yard.asking().all([yard.asked("slow", 0), yard.asked("away", 1, 2)]) is None
        assert sorted(yard.journal.results) == [0, 1, 2]
        assert [at for model, at in yard.tried if model == "away"] == [0, AGAIN_SECONDS, 2 * AGAIN_SECONDS]

    in_virtual_time(walk())


def test_a_model_that_stays_away_is_told_once_the_others_are_done() -> None:
    async def walk() -> None:
        yard = Yard()
        yard.serve("slow", 2.5 * AGAIN_SECONDS)
        outage = await yard.asking().all([yard.asked("away", 1), yard.asked("slow", 0), yard.asked("gone", 2)])
        assert isinstance(outage, Unavailable) and "nobody for away" in str(outage)
        assert list(yard.journal.results) == [0]
        assert asyncio.get_running_loop().time() == 2.5 * AGAIN_SECONDS

    in_virtual_time(walk())


def test_where_all_are_away_nobody_waits() -> None:
    async def walk() -> None:
        yard = Yard()
        assert isinstance(await yard.asking().all([yard.asked("away", 1), yard.asked("gone", 2)]), Unavailable)
        assert asyncio.get_running_loop().time() == 0

    in_virtual_time(walk())


def test_who_is_told_to_stop_tries_nobody_again() -> None:
    async def walk() -> None:
        yard = Yard()
        yard.serve("slow", 1)
        yard.stop.asked.set()
        assert await yard.asking().all([yard.asked("slow", 0), yard.asked("away", 1)]) is not None
        assert len(yard.tried) == 2

    in_virtual_time(walk())
