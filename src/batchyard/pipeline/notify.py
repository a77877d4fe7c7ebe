"""Notify: bring what happened to the endpoints that want to hear of it, again and again until they take it.

Deliveries lie in the store from the moment of their event, so a delivery is at most late: whatever stops it, the next
look finds it. It counts as delivered once that is written; a crash between the two sends it once more, under the same
id. Nobody waits for this: it runs beside the walks, and slow endpoints only for themselves.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from batchyard.clock import Clock
from batchyard.domain.errors import BatchyardError
from batchyard.domain.event import Event, EventId
from batchyard.domain.webhook import Delivery, DeliveryState, WebhookEndpoint, WebhookId
from batchyard.policy.delivery import DeliverySchedule, next_try
from batchyard.store import Store

_log = logging.getLogger(__name__)

Carry = Callable[[WebhookEndpoint, Event], Awaitable[int]]
"""Delivers an event once; the status of the answer. Raises a BatchyardError where there is none."""


class NotifySettings(Struct, frozen=True, kw_only=True):
    """How deliveries go out.

    `at_once` go out side by side; of one project `of_project`, of one endpoint `of_endpoint`. `look_seconds` is how
    often the store is asked for new ones, and how long nothing is asked of one that cannot serve.
    """

    at_once: int = 256
    of_project: int = 32
    of_endpoint: int = 4
    look_seconds: float = 1.0
    schedule: DeliverySchedule = DeliverySchedule()


class Notify:
    """See the module. `run` may be called once."""

    def __init__(self, store: Store, clock: Clock, random: Random, carry: Carry, settings: NotifySettings) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._carry = carry
        self._settings = settings
        self._going: dict[tuple[EventId, WebhookId], WebhookEndpoint] = {}
        self._stir = asyncio.Event()

    async def run(self) -> None:
        """Deliver what is due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for delivery, endpoint in self._chosen(await self._fresh()):
                    self._going[delivery.event.id, endpoint.id] = endpoint
                    group.create_task(self._deliver(delivery, endpoint))
                await self._stirred()

    async def _fresh(self) -> list[tuple[Delivery, WebhookEndpoint]]:
        """What is due and not under way. What was under way when the store was asked may have ended meanwhile."""
        before = set(self._going)
        try:
            due = await self._store.webhooks.due(self._now(), self._settings.of_endpoint)
            return [each for each in due if (each[0].event.id, each[1].id) not in before]
        except BatchyardError as error:
            _log.warning("webhooks_cannot_look", extra={"reason": str(error)})
            return []

    def _chosen(self, due: list[tuple[Delivery, WebhookEndpoint]]) -> list[tuple[Delivery, WebhookEndpoint]]:
        """Those that may go now: nobody's slow endpoints take the room of others."""
        settings, going = self._settings, self._going.values()
        receivers = Counter(each.receiver for each in going)
        projects = Counter(each.project for each in going)
        chosen: list[tuple[Delivery, WebhookEndpoint]] = []
        for delivery, endpoint in due:
            full = len(going) + len(chosen) >= settings.at_once
            if full or receivers[endpoint.receiver] >= settings.of_endpoint:
                continue
            if projects[endpoint.project] < settings.of_project:
                receivers[endpoint.receiver] += 1
                projects[endpoint.project] += 1
                chosen.append((delivery, endpoint))
        return chosen

    async def _stirred(self) -> None:
        """Wait until there may be more to do."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.look_seconds):
                await self._stir.wait()
        self._stir.clear()

    async def _deliver(self, delivery: Delivery, endpoint: WebhookEndpoint) -> None:
        """One attempt, and what came of it."""
        begun = self._now()
        try:
            status, reason = await self._attempt(delivery, endpoint)
            after = self._judged(delivery, begun, status)
            if after.state is DeliveryState.GIVEN_UP:
                _log.warning("webhook_given_up", extra=_told(after, reason))
            elif after.state is DeliveryState.PENDING:
                _log.info("webhook_not_taken", extra=_told(after, reason))
            await self._write(after)
        finally:
            del self._going[delivery.event.id, endpoint.id]
        if after.state is not DeliveryState.PENDING:
            self._stir.set()  # there may be more behind it

    async def _attempt(self, delivery: Delivery, endpoint: WebhookEndpoint) -> tuple[int | None, str]:
        try:
            return await self._carry(endpoint, delivery.event), ""
        except BatchyardError as error:
            return None, str(error)
        except Exception as error:  # whatever it is, the other deliveries go on
            _log.exception("webhook_failed", extra={"endpoint_id": endpoint.id, "event_id": delivery.event.id})
            return None, type(error).__name__

    def _judged(self, delivery: Delivery, begun: int, status: int | None) -> Delivery:
        """The delivery after an attempt: taken, to be tried again, or given up."""
        now, attempts = self._now(), delivery.attempts + 1
        first_at = begun if delivery.first_at is None else delivery.first_at
        tried = replace(delivery, attempts=attempts, first_at=first_at, status=status, due_at=now)
        if status is not None and 200 <= status < 300:
            return replace(tried, state=DeliveryState.DELIVERED)
        due_at = next_try(attempts, first_at, now, self._settings.schedule, self._random)
        return replace(tried, state=DeliveryState.GIVEN_UP) if due_at is None else replace(tried, due_at=due_at)

    async def _write(self, delivery: Delivery) -> None:
        """Keep on trying: what is not written is sent again, so a store that cannot write must not be looked at."""
        while True:
            try:
                await self._store.webhooks.write(delivery)
                return
            except BatchyardError as error:
                _log.warning("webhook_cannot_be_written", extra={"reason": str(error)})
                await asyncio.sleep(self._settings.look_seconds)

    def _now(self) -> int:
        return int(self._clock.now())


def _told(delivery: Delivery, reason: str) -> dict[str, object]:
    return {
        "endpoint_id": delivery.endpoint_id,
        "event_id": delivery.event.id,
        "attempts": delivery.attempts,
        "status": delivery.status,
        "reason": reason,
    }
