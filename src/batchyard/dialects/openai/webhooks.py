"""Webhooks on the OpenAI wire: the calls that manage them, their objects, and the deliveries themselves."""

from collections.abc import Sequence

import msgspec

from batchyard.dialects.openai import fields as wire
from batchyard.dialects.openai.objects import Object
from batchyard.dialects.signing import PREFIX, Message, signed
from batchyard.domain.event import Event
from batchyard.domain.webhook import Delivery, EndpointFields, WebhookEndpoint

_SHOWN = 2
"""How many characters of a secret its hint shows."""


def endpoint_fields(body: bytes, depth: int) -> EndpointFields:
    """Of creating or changing an endpoint."""
    fields = wire.read_object(body, depth)
    kinds = wire.texts(fields, "event_types")
    return EndpointFields(
        name=wire.text(fields, "name"),
        url=wire.text(fields, "url"),
        event_kinds=None if kinds is None else tuple(kinds),
    )


def rotation_fields(body: bytes, depth: int) -> bool:
    """Of rotating a secret: whether the old one stays for a while."""
    return wire.boolean(wire.read_object(body, depth), "keep_old_secret_active_for_24_hours") if body else False


def trial_fields(body: bytes, depth: int) -> str | None:
    """Of testing an endpoint: the kind of the event."""
    return wire.text(wire.read_object(body, depth), "event_type")


def endpoint_object(endpoint: WebhookEndpoint, *, secret: bool = False) -> Object:
    """An endpoint; its secret is shown only in answers that make one."""
    shown = {"signing_secret": endpoint.secret} if secret else {}
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_kinds),
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "signing_secret_hint": f"{PREFIX}...{endpoint.secret[-_SHOWN:]}",
        **shown,
    }


def deleted_endpoint(id: str) -> Object:
    return {"id": id, "object": "webhook_endpoint.deleted", "deleted": True}


def trial_object(delivery: Delivery) -> Object:
    return {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": delivery.endpoint_id,
        "event_type": delivery.event.kind,
        "status_code": delivery.status,
        "success": True,
    }


def event_object(event: Event) -> Object:
    return {
        "id": event.id,
        "object": "event",
        "created_at": event.at,
        "type": event.kind,
        "data": {"id": event.batch_id},
    }


def message(event: Event, secrets: Sequence[str], at: int) -> Message:
    """An event as it is delivered at a time."""
    return signed(f"wh_{event.id.removeprefix('evt_')}", msgspec.json.encode(event_object(event)), secrets, at)
