"""Webhooks, put together: an event becomes a signed message, and a message goes outside."""

from collections.abc import Awaitable, Callable

from msgspec import Struct, field

from batchyard.clock import Clock
from batchyard.dialects.gemini import webhooks as gemini
from batchyard.dialects.openai import webhooks as openai
from batchyard.dialects.signing import Message
from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchId, Form
from batchyard.domain.errors import Invalid, Unavailable
from batchyard.domain.event import Event
from batchyard.domain.webhook import SigningSecret, WebhookEndpoint
from batchyard.pipeline.notify import NotifySettings
from batchyard.service.webhooks import WebhookRules
from batchyard.transport.http1 import HttpError
from batchyard.transport.outside import NotOutside, Outside, Resolve, Unresolved

BatchOf = Callable[[ProjectId, BatchId], Awaitable[Batch | None]]
"""A batch of a project, deleted or not. Raises a BatchyardError where it cannot be asked for."""


class WebhookSettings(Struct, frozen=True, kw_only=True):
    """`allow_private` are hosts, addresses and networks that are not on the public internet and may be delivered to."""

    allow_private: tuple[str, ...] = ()
    timeout_seconds: float = 10.0
    rules: WebhookRules = field(default_factory=WebhookRules)
    notify: NotifySettings = field(default_factory=NotifySettings)
    resolve: Resolve | None = None


class Courier:
    """Carries events to endpoints, one attempt at a time. `secret` signs what goes to batches' own hooks."""

    def __init__(self, settings: WebhookSettings, clock: Clock, batch_of: BatchOf, secret: SigningSecret) -> None:
        """Raises Invalid where the settings do not say what may be delivered to."""
        try:
            self._outside = Outside(
                settings.allow_private, resolve=settings.resolve, timeout_seconds=settings.timeout_seconds
            )
        except ValueError as error:
            raise Invalid(f"Webhooks: {error}.", remedy="Name hosts, addresses or networks.") from None
        self._timeout_seconds = settings.timeout_seconds
        self._clock = clock
        self._batch_of = batch_of
        self._secret = secret

    async def check(self, url: str) -> None:
        """Raises Invalid where nothing would be delivered to a URL.

        A host that nobody can resolve now may be known when there is something to deliver, which is judged again.
        """
        try:
            await self._outside.check(url)
        except Unresolved:
            return
        except NotOutside as error:
            raise Invalid(
                str(error),
                remedy="Give a URL on the public internet, or let the server's operator allow this one.",
                param="url",
                reason="invalid_value",
            ) from None

    async def carry(self, endpoint: WebhookEndpoint, event: Event) -> int:
        """Deliver an event once, signed now; the status of the answer. Raises Unavailable where there is none."""
        written = await self._message(endpoint, event, int(self._clock.now()))
        try:
            return await self._outside.post(endpoint.url, written.headers, written.body)
        except TimeoutError:
            raise Unavailable(f"There was no answer within {self._timeout_seconds:g} s.") from None
        except (NotOutside, HttpError) as error:
            raise Unavailable(str(error)) from None

    async def _message(self, endpoint: WebhookEndpoint, event: Event, at: int) -> Message:
        """An event in the words of the wire that the endpoint was made on. What an ended batch is does not change, so
        every attempt says the same."""
        secrets = endpoint.signing(at) if endpoint.only_batch is None else (self._secret.text,)
        if endpoint.form is not Form.GEMINI:
            return openai.message(event, secrets, at)
        return gemini.message(event, await self._batch_of(event.project, event.batch_id), secrets, at)
