"""Webhooks on Gemini's wire: the calls that manage them, their objects, what a job brings along, and the deliveries.

{"type": "batch.succeeded", "version": "v1", "timestamp": "2026-03-04T05:16:31Z",
 "data": {"id": "batches/ID", "output_file_uri": "files/batch-ID"}, "user_metadata": {...}}
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.calls import read_json
from batchyard.dialects.gemini.faults import told
from batchyard.dialects.gemini.spelling import Json, camel, normal
from batchyard.dialects.gemini.times import timestamp
from batchyard.dialects.gemini.unfit import Rpc, Shapeless, Unfit
from batchyard.dialects.signing import PREFIX, Message, signed
from batchyard.domain.batch import Batch, Form, output_name, short
from batchyard.domain.event import Event
from batchyard.domain.hooks import Hooks
from batchyard.domain.webhook import PING, EndpointFields, WebhookEndpoint, WebhookId

KINDS: Mapping[str, str] = {
    "batch.succeeded": "batch.completed",
    "batch.failed": "batch.failed",
    "batch.expired": "batch.expired",
    "batch.cancelled": "batch.cancelled",
}
"""What can be heard of: the wire's word, and ours."""

_WORDS = {ours: word for word, ours in KINDS.items()}
_FIELDS = ("name", "uri", "subscribedEvents", "state")
_OURS = ("id", "createTime", "updateTime", "signingSecrets", "newSigningSecret")
"""What only the server says; clients that send an object back have it in there."""
_STATES = {"enabled": True, "disabled": False}
_KEEPING = {"revoke_previous_secrets_after_h24": True, "revoke_previous_secrets_immediately": False}
_UNKNOWN = "The batch could not run."
_ID = "we_"
_LEVELS = 32
_SHOWN = 4
"""How many characters of a secret its short form shows."""


def webhook_id(name: str) -> WebhookId:
    """Our id of a webhook, by what the wire calls it."""
    return WebhookId(_ID + name)


def shown_id(id: WebhookId) -> str:
    """What the wire calls a webhook."""
    return id.removeprefix(_ID)


def new_fields(body: bytes, depth: int) -> EndpointFields:
    """Of creating a webhook. Raises Unfit."""
    given = _given(body, depth)
    for name in ("uri", "subscribedEvents"):
        if not given.get(name):
            raise Shapeless(f"'{_snake(name)}' is missing.", _snake(name), "Say what to tell, and where.")
    return msgspec.structs.replace(_endpoint_fields(given), enabled=None)


def changed_fields(body: bytes, mask: str | None, depth: int) -> EndpointFields:
    """Of changing a webhook: what the mask names, or without one what is there. Raises Unfit."""
    return _endpoint_fields(_masked(_given(body, depth), mask))


def keeps_old(body: bytes, depth: int) -> bool:
    """Of a new secret: whether the old one signs on for a day, as it does where nobody says. Raises Unfit."""
    given: Json = normal(read_json(body, depth)) if body else {}
    read.only(given, {"revocationBehavior"}, "")
    said = given.get("revocationBehavior")
    if said is None:
        return True
    word = read.text(said, "revocation_behavior").lower()
    if word not in _KEEPING:
        raise Unfit(f"There is no revocation behavior '{word}'.", "revocation_behavior", _one_of(_KEEPING))
    return _KEEPING[word]


def hooks_of(given: object, field: str) -> Hooks:
    """The webhooks that a job brings along, as a field of its says. Raises Unfit."""
    config = normal(read.an_object(given, field))
    read.only(config, {"uris", "userMetadata"}, field)
    uris = read.an_array(config.get("uris") or [], f"{field}.uris")
    metadata = config.get("userMetadata")
    if read.deeper_than(metadata, _LEVELS):
        raise Shapeless(f"The user metadata is nested deeper than {_LEVELS} levels.", f"{field}.userMetadata")
    return Hooks(
        uris=tuple(read.text(uri, f"{field}.uris[{place}]") for place, uri in enumerate(uris)),
        user_metadata=None if metadata is None else read.an_object(metadata, f"{field}.userMetadata"),
    )


def webhook_object(endpoint: WebhookEndpoint, at: int, *, secret: bool = False) -> Json:
    """A webhook at a time; its secret is shown only where it was made with it."""
    named = {"name": endpoint.name} if endpoint.name else {}
    return {
        "id": shown_id(endpoint.id),
        **named,
        "uri": endpoint.url,
        "subscribed_events": [_WORDS[kind] for kind in endpoint.event_kinds],
        "state": "enabled" if endpoint.enabled else "disabled",
        "create_time": timestamp(endpoint.created_at),
        "update_time": timestamp(endpoint.updated_at),
        "signing_secrets": [
            {"truncated_secret": f"{PREFIX}...{each.text[-_SHOWN:]}"}
            | ({} if each.until is None else {"expire_time": timestamp(each.until)})
            for each in endpoint.secrets
            if each.until is None or at < each.until
        ],
        **({"new_signing_secret": endpoint.secret} if secret else {}),
    }


def message(event: Event, batch: Batch | None, secrets: Sequence[str], at: int) -> Message:
    """An event as it is delivered at a time. Of an ended batch it is always the same but for its signature."""
    body: Json = {
        "type": _WORDS.get(event.kind, event.kind),
        "version": "v1",
        "timestamp": timestamp(event.at),
        "data": {} if event.kind == PING else {"id": f"batches/{short(event.batch_id)}", **_data(event, batch)},
    }
    if batch is not None and batch.hooks is not None and batch.hooks.user_metadata is not None:
        body["user_metadata"] = batch.hooks.user_metadata
    return signed(f"msg_{event.id.removeprefix('evt_')}", msgspec.json.encode(body), secrets, at)


def _data(event: Event, batch: Batch | None) -> Json:
    """What is said of a batch beside its name."""
    if batch is None:
        return {}
    if event.kind == "batch.completed":
        return {} if batch.inline or batch.output_file_id is None else {"output_file_uri": _output(batch)}
    if event.kind == "batch.failed":
        return {
            "error_code": int(Rpc.INVALID_ARGUMENT),
            "error_message": told(batch.errors, batch.error_count) or _UNKNOWN,
        }
    return {}


def _output(batch: Batch) -> str:
    """The result file by its name on this wire: that of a job made here is the job's own."""
    if batch.form is Form.GEMINI:
        return f"files/{output_name(batch.id)}"
    return f"files/{(batch.output_file_id or '').removeprefix('file-')}"


def _endpoint_fields(given: Json) -> EndpointFields:
    kinds = given.get("subscribedEvents")
    return EndpointFields(
        name=read.text(given["name"], "name") if given.get("name") is not None else None,
        url=read.text(given["uri"], "uri") if given.get("uri") is not None else None,
        event_kinds=None if kinds is None else _kinds(read.an_array(kinds, "subscribed_events")),
        enabled=None if given.get("state") is None else _state(read.text(given["state"], "state")),
    )


def _kinds(given: Sequence[object]) -> tuple[str, ...]:
    if not given:
        raise Shapeless("There are no subscribed events.", "subscribed_events", "Name at least one.")
    return tuple(_kind(each, f"subscribed_events[{place}]") for place, each in enumerate(given))


def _kind(given: object, field: str) -> str:
    word = read.text(given, field)
    if word not in KINDS:
        raise Unfit(f"This server has no event '{word}'.", field, _one_of(KINDS))
    return KINDS[word]


def _state(word: str) -> bool:
    if word not in _STATES:
        raise Unfit(f"A webhook cannot be made '{word}'.", "state", _one_of(_STATES))
    return _STATES[word]


def _given(body: bytes, depth: int) -> Json:
    given = normal(read_json(body, depth))
    read.only(given, (*_FIELDS, *_OURS), "")
    return given


def _masked(given: Json, mask: str | None) -> Json:
    named = [camel(each.strip()) for each in (mask or "").split(",") if each.strip()]
    if not named or "*" in named:
        return given
    for name in named:
        if name not in _FIELDS:
            raise Unfit(f"A webhook has no '{name}' to change.", "update_mask", _one_of(map(_snake, _FIELDS)))
        if given.get(name) is None:
            raise Unfit(f"The mask names '{_snake(name)}', but the body has none.", _snake(name))
    return {name: given[name] for name in named}


def _one_of(words: Iterable[str]) -> str:
    return f"Known are: {', '.join(words)}."


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
