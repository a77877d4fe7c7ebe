"""A webhook: where a project wants to hear of its batches, and what is on its way there."""

from enum import StrEnum
from typing import NewType

import msgspec
from msgspec import Struct

from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, BatchId, Form
from batchyard.domain.event import Event

WebhookId = NewType("WebhookId", str)

EVENT_KINDS = ("batch.completed", "batch.failed", "batch.expired", "batch.cancelled")
"""What can be heard of: the ends of batches. Official clients take an unknown kind for another, without an error."""

PING = "webhook.ping"
"""The kind of an event that says nothing but that it arrives."""

KEEP_SECONDS = 86_400
"""How long an old secret signs beside its successor, where that was asked for."""

MOST_SECRETS = 4
"""How many sign at the same time: each makes every delivery's header longer."""


class SigningSecret(Struct, frozen=True):
    """What deliveries are signed with. It has to be kept as it is, since a hash cannot sign; so it never shows itself.

    `until` is when it ends, None: when it is replaced.
    """

    text: str
    until: int | None = None

    def __repr__(self) -> str:
        return f"SigningSecret(..., until={self.until})"


class WebhookEndpoint(Struct, frozen=True, kw_only=True):
    """Where events of some kinds are delivered to. The first of `secrets` is the newest.

    `form` is the wire that it was made on: it is seen there, and told of events in that wire's words. One that is not
    `enabled` is told nothing. `only_batch` makes it that batch's own hook: its caller sees it nowhere, it has no
    secrets, since the server signs with one for all of them, and it goes when the batch's end has been told.
    """

    id: WebhookId
    project: ProjectId
    name: str
    url: str
    event_kinds: tuple[str, ...]
    secrets: tuple[SigningSecret, ...]
    created_at: int
    updated_at: int
    form: Form = Form.OPENAI
    enabled: bool = True
    only_batch: BatchId | None = None

    @property
    def secret(self) -> str:
        """The one to verify with from now on."""
        return self.secrets[0].text

    @property
    def receiver(self) -> str:
        """Whom it stands for where room is shared: hooks of many batches may name the same URL."""
        return self.id if self.only_batch is None else f"{self.project} {self.url}"

    def signing(self, at: int) -> tuple[str, ...]:
        """The secrets that sign at a time, the newest first."""
        return tuple(each.text for each in self.secrets if each.until is None or at < each.until)

    def changed(self, given: "EndpointFields", at: int) -> "WebhookEndpoint":
        """The endpoint with what is given; its time moves only where something does."""
        fields = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
        after = msgspec.structs.replace(self, **fields)
        return self if after == self else msgspec.structs.replace(after, updated_at=max(at, self.updated_at))

    def rotated(self, secret: str, at: int, *, keep_old: bool) -> "WebhookEndpoint":
        """The endpoint with a new secret. The old one goes at once, with all before it, or signs on for a while."""
        kept = tuple(_ending(each, at + KEEP_SECONDS) for each in self.secrets) if keep_old else ()
        secrets = (SigningSecret(secret), *(each for each in kept if (each.until or 0) > at))[:MOST_SECRETS]
        return msgspec.structs.replace(self, secrets=secrets, updated_at=max(at, self.updated_at))


class EndpointFields(Struct, frozen=True, kw_only=True):
    """What a caller may say of an endpoint. None: not given."""

    name: str | None = None
    url: str | None = None
    event_kinds: tuple[str, ...] | None = None
    enabled: bool | None = None


class DeliveryState(StrEnum):
    """Where a delivery stands. All but pending are terminal."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint.

    `due_at` is when it is tried next, or when it ended; `first_at` when it was first tried; `status` what the endpoint
    last answered, None where nothing came back.
    """

    event: Event
    endpoint_id: WebhookId
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    due_at: int
    first_at: int | None = None
    status: int | None = None


def hooks_of(batch: Batch) -> tuple[WebhookEndpoint, ...]:
    """The endpoints that a batch brings along."""
    return tuple(
        WebhookEndpoint(
            id=WebhookId(f"{batch.id}_{number}"),
            project=batch.project,
            name="",
            url=uri,
            event_kinds=EVENT_KINDS,
            secrets=(),
            created_at=batch.created_at,
            updated_at=batch.created_at,
            form=batch.form,
            only_batch=batch.id,
        )
        for number, uri in enumerate(batch.hooks.uris if batch.hooks else ())
    )


def _ending(secret: SigningSecret, until: int) -> SigningSecret:
    return SigningSecret(secret.text, until if secret.until is None else min(secret.until, until))
