"""`/v1beta/webhooks`: where a project wants to hear of its batches, in Gemini's words."""

from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.gemini.models import page_of
from batchyard.dialects.gemini.webhooks import (
    changed_fields,
    keeps_old,
    new_fields,
    shown_id,
    webhook_id,
    webhook_object,
)
from batchyard.domain.batch import Form
from batchyard.domain.errors import Invalid, NotFound
from batchyard.domain.webhook import WebhookEndpoint
from batchyard.server.access import caller_of
from batchyard.server.body import read_call
from batchyard.server.house import house_of
from batchyard.server.paths import GEMINI
from batchyard.server.replies import reply

T = TypeVar("T")

_FIELDS = {"url": "uri", "event_types": "subscribed_events", "after": "page_token"}
"""Our services name parameters as OpenAI does."""


async def create_webhook(request: Request) -> Response:
    """A new webhook, with its secret, which is shown here only."""
    caller = await caller_of(request)
    asked = await read_call(request, new_fields)
    made = await _told(house_of(request).webhooks.create(caller, asked, Form.GEMINI))
    return reply(_shown(request, made, secret=True))


async def list_webhooks(request: Request) -> Response:
    """A page of the project's webhooks, newest first."""
    caller, query = await caller_of(request), request.query_params
    size, token = (query.get(snake) or query.get(camel) for snake, camel in _PAGING)
    asked = page_of(size, token)
    after = None if asked.after is None else webhook_id(asked.after)
    listing = house_of(request).webhooks.list(caller, after=after, limit=asked.size, form=Form.GEMINI)
    found = await _told(listing)
    more = {"next_page_token": shown_id(found.rows[-1].id)} if found.more else {}
    return reply({"webhooks": [_shown(request, each) for each in found.rows], **more})


async def get_webhook(request: Request) -> Response:
    """One webhook."""
    caller, name = await caller_of(request), request.path_params["id"]
    return reply(
        _shown(request, await _found(house_of(request).webhooks.get(caller, webhook_id(name), Form.GEMINI), name))
    )


async def update_webhook(request: Request) -> Response:
    """Change what the mask names of a webhook."""
    caller, query, name = await caller_of(request), request.query_params, request.path_params["id"]
    mask = query.get("update_mask") or query.get("updateMask")
    asked = await read_call(request, lambda body, depth: changed_fields(body, mask, depth))
    changing = house_of(request).webhooks.update(caller, webhook_id(name), asked, Form.GEMINI)
    return reply(_shown(request, await _found(changing, name)))


async def delete_webhook(request: Request) -> Response:
    """Delete a webhook, with what is due to it."""
    caller, name = await caller_of(request), request.path_params["id"]
    await _found(house_of(request).webhooks.delete(caller, webhook_id(name), Form.GEMINI), name)
    return reply({})


async def ping_webhook(request: Request) -> Response:
    """Send a signed event that says nothing; an error where it is not taken."""
    caller, name = await caller_of(request), request.path_params["id"]
    await _found(house_of(request).webhooks.ping(caller, webhook_id(name), Form.GEMINI), name)
    return reply({})


async def rotate_secret(request: Request) -> Response:
    """A new secret, which is shown here only."""
    caller, name = await caller_of(request), request.path_params["id"]
    keep = await read_call(request, keeps_old)
    webhooks = house_of(request).webhooks
    rotating = webhooks.rotate_secret(caller, webhook_id(name), keep_old=keep, form=Form.GEMINI)
    return reply({"secret": (await _found(rotating, name)).secret})


def _shown(request: Request, endpoint: WebhookEndpoint, *, secret: bool = False) -> dict[str, object]:
    return webhook_object(endpoint, int(house_of(request).clock.now()), secret=secret)


async def _found(asked: Awaitable[T], name: str) -> T:
    """What is asked of a webhook. Raises NotFound with the webhook's name on this wire."""
    try:
        return await _told(asked)
    except NotFound as error:
        raise NotFound(f"There is no webhook '{name}'.", param=error.param, reason=error.reason) from None


async def _told(asked: Awaitable[T]) -> T:
    """What is asked. Raises Invalid with the fields' names on this wire."""
    try:
        return await asked
    except Invalid as error:
        ours, theirs = error.param or "", _FIELDS.get(error.param or "", error.param)
        message = error.message.replace(f"'{ours}'", f"'{theirs}'")
        raise Invalid(message, remedy=error.remedy, param=theirs, reason=error.reason) from error


_PAGING = (("page_size", "pageSize"), ("page_token", "pageToken"))
_OF_ONE = f"{GEMINI}/webhooks/{{id}}"
ROUTES = [
    Route(f"{GEMINI}/webhooks", create_webhook, methods=["POST"]),
    Route(f"{GEMINI}/webhooks", list_webhooks),
    Route(f"{_OF_ONE}:ping", ping_webhook, methods=["POST"]),
    Route(f"{_OF_ONE}:rotateSigningSecret", rotate_secret, methods=["POST"]),
    Route(_OF_ONE, get_webhook),
    Route(_OF_ONE, update_webhook, methods=["PATCH"]),
    Route(_OF_ONE, delete_webhook, methods=["DELETE"]),
]
