"""Webhooks, put together: an event becomes a signed message, and a message goes outside."""

from msgspec import Struct, field

from batchyard.clock import Clock
from batchyard.dialects.openai.webhooks import message
from batchyard.domain.errors import Invalid, Unavailable
from batchyard.domain.event import Event
from batchyard.domain.webhook import WebhookEndpoint
from batchyard.pipeline.notify import NotifySettings
from batchyard.service.webhooks import WebhookRules
from batchyard.transport.http1 import HttpError
from batchyard.transport.outside import NotOutside, Outside, Resolve


class WebhookSettings(Struct, frozen=True, kw_only=True):
    """`allow_private` are hosts, addresses and networks that are not on the public internet and may be delivered to."""

    allow_private: tuple[str, ...] = ()
    timeout_seconds: float = 10.0
    rules: WebhookRules = field(default_factory=WebhookRules)
    notify: NotifySettings = field(default_factory=NotifySettings)
    resolve: Resolve | None = None


class Courier:
    """Carries events to endpoints, one attempt at a time."""

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        """Raises Invalid where the settings do not say what may be delivered to."""
        try:
            self._outside = Outside(
                settings.allow_private, resolve=settings.resolve, timeout_seconds=settings.timeout_seconds
            )
        except ValueError as error:
            raise Invalid(f"Webhooks: {error}.", remedy="Name hosts, addresses or networks.") from None
        self._timeout_seconds = settings.timeout_seconds
        self._clock = clock

    async def check(self, url: str) -> None:
        """Raises Invalid where nothing would be delivered to a URL."""
        try:
            await self._outside.check(url)
        except NotOutside as error:
            raise Invalid(
                str(error),
                remedy="Give a URL on the public internet, or let the server's operator allow this one.",
                param="url",
                reason="invalid_value",
            ) from None

    async def carry(self, endpoint: WebhookEndpoint, event: Event) -> int:
        """Deliver an event once, signed now; the status of the answer. Raises Unavailable where there is none."""
        at = int(self._clock.now())
        written = message(event, endpoint.signing(at), at)
        try:
            return await self._outside.post(endpoint.url, written.headers, written.body)
        except TimeoutError:
            raise Unavailable(f"There was no answer within {self._timeout_seconds:g} s.") from None
        except (NotOutside, HttpError) as error:
            raise Unavailable(str(error)) from None
