"""Webhook endpoints, as a caller sees them. What is due to them is delivered by the pipeline."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from batchyard.clock import Clock
from batchyard.domain.access import Action, Caller
from batchyard.domain.batch import BatchId, Form
from batchyard.domain.errors import Invalid, NotFound, Unavailable
from batchyard.domain.event import Event
from batchyard.domain.webhook import (
    EVENT_KINDS,
    PING,
    Delivery,
    DeliveryState,
    EndpointFields,
    SigningSecret,
    WebhookEndpoint,
    WebhookId,
)
from batchyard.service import checks
from batchyard.service.access import require
from batchyard.service.ids import Ids
from batchyard.store import Direction, Page, Store

LIST_LIMIT = 100
LIST_DEFAULT = 20
_MAX_NAME = 200

Carry = Callable[[WebhookEndpoint, Event], Awaitable[int]]
"""Delivers an event once; the status of the answer. Raises Unavailable where there is none."""
Check = Callable[[str], Awaitable[None]]
"""Raises Invalid, with a reason for the caller, where nothing would be delivered to a URL."""


class WebhookRules(Struct, frozen=True, kw_only=True):
    """`endpoints` is how many a project may have."""

    endpoints: int = 20


class Webhooks:
    """What a caller may do with webhook endpoints. Each wire has those that were made on it: the `form` says which."""

    def __init__(
        self, store: Store, clock: Clock, ids: Ids, check: Check, carry: Carry, rules: WebhookRules | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._check = check
        self._carry = carry
        self._rules = rules or WebhookRules()

    async def create(self, caller: Caller, asked: EndpointFields, form: Form = Form.OPENAI) -> WebhookEndpoint:
        """A new endpoint, which hears of what happens from now on. Raises Invalid and QuotaExceeded.

        On Gemini's wire it need not have a name.
        """
        require(caller, Action.EDIT_WEBHOOKS)
        nameless = form is Form.GEMINI and asked.name is None
        name = "" if nameless else _name(checks.required(asked.name, "name"))
        kinds = _kinds(checks.required(asked.event_kinds, "event_types"))
        url = checks.url(checks.required(asked.url, "url"), "url")
        await self._check(url)
        at = self._now()
        endpoint = WebhookEndpoint(
            id=self._ids.webhook(),
            project=caller.project,
            name=name,
            url=url,
            event_kinds=kinds,
            secrets=(SigningSecret(self._ids.webhook_secret()),),
            created_at=at,
            updated_at=at,
            form=form,
        )
        await self._store.webhooks.add(endpoint, self._rules.endpoints)
        return endpoint

    async def get(self, caller: Caller, id: str, form: Form = Form.OPENAI) -> WebhookEndpoint:
        """An endpoint. Raises NotFound where there is none, or it is another project's, or another wire's."""
        require(caller, Action.VIEW_WEBHOOKS)
        found = _known(await self._store.webhooks.get(caller.project, WebhookId(id)), id)
        return _known(found if found.form is form else None, id)

    async def list(
        self,
        caller: Caller,
        *,
        after: str | None = None,
        limit: int | None = None,
        direction: Direction = Direction.DESC,
        form: Form = Form.OPENAI,
    ) -> Page[WebhookEndpoint]:
        """A page of the project's endpoints."""
        require(caller, Action.VIEW_WEBHOOKS)
        cursor = checks.cursor(limit, LIST_LIMIT, LIST_DEFAULT, after, direction)
        return checks.known(await self._store.webhooks.list(caller.project, cursor, form))

    async def update(self, caller: Caller, id: str, asked: EndpointFields, form: Form = Form.OPENAI) -> WebhookEndpoint:
        """Change what is given. What was due before goes where the endpoint is then."""
        require(caller, Action.EDIT_WEBHOOKS)
        await self.get(caller, id, form)
        given = EndpointFields(
            name=None if asked.name is None else _name(asked.name),
            url=None if asked.url is None else checks.url(asked.url, "url"),
            event_kinds=None if asked.event_kinds is None else _kinds(asked.event_kinds),
            enabled=asked.enabled,
        )
        if given.url is not None:
            await self._check(given.url)
        return _known(await self._store.webhooks.update(caller.project, WebhookId(id), given, self._now()), id)

    async def delete(self, caller: Caller, id: str, form: Form = Form.OPENAI) -> None:
        """Delete an endpoint, with what is due to it."""
        require(caller, Action.EDIT_WEBHOOKS)
        await self.get(caller, id, form)
        if not await self._store.webhooks.delete(caller.project, WebhookId(id), self._now()):
            raise _no_endpoint(id)

    async def rotate_secret(
        self, caller: Caller, id: str, *, keep_old: bool, form: Form = Form.OPENAI
    ) -> WebhookEndpoint:
        """The endpoint with a new secret. The old one ends now, or signs beside the new one for a day."""
        require(caller, Action.EDIT_WEBHOOKS)
        await self.get(caller, id, form)
        secret = self._ids.webhook_secret()
        store = self._store.webhooks
        return _known(await store.rotate(caller.project, WebhookId(id), secret, self._now(), keep_old=keep_old), id)

    async def test(self, caller: Caller, id: str, kind: str | None) -> Delivery:
        """Deliver an event of a batch that never was, once, now. Raises Invalid where nothing answers."""
        require(caller, Action.EDIT_WEBHOOKS)
        kind = checks.one_of(checks.required(kind, "event_type"), EVENT_KINDS, "event_type")
        return await self._try(await self.get(caller, id), kind)

    async def ping(self, caller: Caller, id: str, form: Form) -> Delivery:
        """Deliver an event that says nothing, once, now. Raises Invalid where it is not taken."""
        require(caller, Action.EDIT_WEBHOOKS)
        tried = await self._try(await self.get(caller, id, form), PING)
        if tried.status is None or not 200 <= tried.status < 300:
            raise _not_delivered(f"the endpoint answered with status {tried.status}.", "Let it answer with any 2xx.")
        return tried

    async def _try(self, endpoint: WebhookEndpoint, kind: str) -> Delivery:
        at = self._now()
        event = Event(
            id=self._ids.event(), project=endpoint.project, kind=kind, batch_id=BatchId(self._ids.batch()), at=at
        )
        try:
            status = await self._carry(endpoint, event)
        except Unavailable as error:
            remedy = "Check that the endpoint's URL can be reached from this server."
            raise _not_delivered(error.message, remedy) from error
        return Delivery(
            event=event, endpoint_id=endpoint.id, state=DeliveryState.DELIVERED, attempts=1, due_at=at, status=status
        )

    def kinds(self, caller: Caller) -> Sequence[str]:
        """The kinds of events that there are."""
        require(caller, Action.VIEW_WEBHOOKS)
        return EVENT_KINDS

    def _now(self) -> int:
        return int(self._clock.now())


def _name(name: str) -> str:
    if not name.strip() or len(name) > _MAX_NAME:
        raise Invalid(f"A name has 1 to {_MAX_NAME} characters.", param="name", reason="invalid_value")
    return name.strip()


def _kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    if not kinds:
        raise Invalid("Invalid 'event_types': name at least one.", param="event_types", reason="empty_array")
    for place, kind in enumerate(kinds):
        checks.one_of(kind, EVENT_KINDS, f"event_types[{place}]")
    return tuple(dict.fromkeys(kinds))


def _known(endpoint: WebhookEndpoint | None, id: str) -> WebhookEndpoint:
    if endpoint is None:
        raise _no_endpoint(id)
    return endpoint


def _not_delivered(why: str, remedy: str) -> Invalid:
    return Invalid(f"The test was not delivered: {why}", remedy=remedy, param="url", reason="webhook_not_delivered")


def _no_endpoint(id: str) -> NotFound:
    return NotFound(f"No webhook endpoint found with id '{id}'.", param="id")
