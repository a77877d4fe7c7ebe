"""What each call takes and answers, by its method and path: what a door's own words do not say."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from batchyard.domain.file import MAX_EXPIRY_SECONDS, MIN_EXPIRY_SECONDS, PURPOSES
from batchyard.domain.partial import Kind
from batchyard.domain.webhook import EVENT_KINDS
from batchyard.server.openapi.schemas import (
    COUNT,
    TEXT,
    WHOLE,
    YES,
    Schema,
    listed,
    maybe,
    record,
    ref,
    word,
    words,
)
from batchyard.service import files, results
from batchyard.store import Direction

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
BYTES: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"

Answers = Mapping[int, Mapping[str, Schema]]
"""What comes with each status: a schema for each content type; none where there is no body."""
Parameters = tuple[Mapping[str, Any], ...]


class Call(Struct, frozen=True, kw_only=True):
    """One call. `errors` are the statuses of refusals beside those that every call with a key has."""

    about: str
    answers: Answers
    errors: tuple[int, ...] = ()
    parameters: Parameters = ()
    body: Mapping[str, Schema] | None = None
    body_required: bool = True
    keyless: bool = False


def said(name: str, *, also: int | None = None) -> Answers:
    """An object; with 201 too, which Azure's paths answer where something was made."""
    body = {JSON: ref(name)}
    return {200: body} if also is None else {200: body, also: body}


def parameter(name: str, schema: Schema, place: str = "query", *, required: bool = False) -> Mapping[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema}


_AFTER = parameter("after", TEXT)
_LIMIT = parameter("limit", {"type": "integer", "minimum": 1})
_PAGES: Parameters = (_AFTER, _LIMIT, parameter("order", words(Direction)))
_ODATA: Parameters = (parameter("$filter", TEXT), parameter("$orderby", TEXT))
_ONCE: Parameters = (parameter("Idempotency-Key", {**TEXT, "minLength": 1, "maxLength": 255}, "header"),)
_LAST_SEEN: Parameters = (parameter("Last-Event-ID", TEXT, "header"),)
_READING: Parameters = tuple(parameter(name, TEXT, "header") for name in ("Range", "If-Range", "If-None-Match"))
_RESULTS: Parameters = (
    _AFTER,
    parameter("limit", {"type": "integer", "minimum": 1, "maximum": results.LIMIT}),
    parameter("kind", words(Kind)),
)
_COSTS: Parameters = (
    parameter("start_time", WHOLE, required=True),
    parameter("end_time", WHOLE),
    parameter("bucket_width", word("1d")),
    _LIMIT,
    parameter("group_by", listed(word("project_id", "line_item"))),
    parameter("project_ids", listed(TEXT)),
    parameter("line_items", listed(TEXT)),
    parameter("page", TEXT),
)

_EXPIRY = record(
    {
        "anchor": word("created_at"),
        "seconds": {"type": "integer", "minimum": MIN_EXPIRY_SECONDS, "maximum": MAX_EXPIRY_SECONDS},
    },
    optional=["anchor"],
)
_METADATA: Schema = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": {"maxLength": 64},
    "additionalProperties": {"type": "string", "maxLength": 512},
}
_PURPOSE = word(*PURPOSES)
_AGAIN: Mapping[str, Schema] = {
    "completion_window": maybe({**TEXT, "examples": ["24h"]}),
    "metadata": maybe(_METADATA),
    "output_expires_after": maybe(_EXPIRY),
}
_FORM = {
    FORM: record(
        {
            "file": {**TEXT, "contentMediaType": BYTES},
            "purpose": _PURPOSE,
            "expires_after[anchor]": word("created_at"),
            "expires_after[seconds]": TEXT,
        },
        optional=["expires_after[anchor]", "expires_after[seconds]"],
    )
}
_PART = {FORM: record({"data": {**TEXT, "contentMediaType": BYTES}})}
_UPLOAD = record(
    {
        "filename": {**TEXT, "minLength": 1},
        "purpose": _PURPOSE,
        "bytes": COUNT,
        "mime_type": {**TEXT, "minLength": 1},
        "expires_after": maybe(_EXPIRY),
    },
    optional=["expires_after"],
)
_COMPLETION = record({"part_ids": listed(TEXT), "md5": maybe(TEXT)}, optional=["md5"])
_BATCH = record(
    {
        "input_file_id": {**TEXT, "minLength": 1},
        "endpoint": {**TEXT, "examples": ["/v1/chat/completions"]},
        **_AGAIN,
        "completion_window": {**TEXT, "examples": ["24h"]},
        "priority": maybe(WHOLE),
    },
    optional=["metadata", "output_expires_after", "priority"],
)
_RETRY = record(_AGAIN, optional=_AGAIN)
_ENDPOINT: Mapping[str, Schema] = {
    "name": {**TEXT, "minLength": 1, "maxLength": 200},
    "url": {**TEXT, "format": "uri", "maxLength": 2048},
    "event_types": listed(word(*EVENT_KINDS), minItems=1),
}
_ROTATION = record({"keep_old_secret_active_for_24_hours": maybe(YES)}, ["keep_old_secret_active_for_24_hours"])
_TRIAL = record({"event_type": word(*EVENT_KINDS)})

_MESSAGES = listed({"type": "object"}, minItems=1)
_PROMPT: Schema = {"type": ["string", "array"]}
_STREAM: Mapping[str, Schema] = {
    "stream": maybe(YES),
    "stream_options": maybe(record({"include_usage": YES}, optional=["include_usage"])),
}
_PICTURES: Mapping[str, Schema] = {
    "n": maybe({"type": "integer", "minimum": 1, "maximum": 10}),
    "size": maybe({**TEXT, "examples": ["1024x1024", "auto"]}),
    "seed": maybe(WHOLE),
    "response_format": maybe(TEXT),
    "output_format": maybe(TEXT),
}
_VECTORS = {"encoding_format": maybe(word("float", "base64"))}


def _inference(endpoint: str, fields: Mapping[str, Schema], extra: Mapping[str, Schema]) -> Call:
    """A call to a model; what a model answers is its own affair, so the schema of the answer says little."""
    body = record({"model": TEXT, **fields, **extra}, optional=extra)
    answer: dict[str, Schema] = {JSON: {"type": "object"}}
    if "stream" in extra:
        answer[EVENTS] = {}
    return Call(
        about=f"Ask a model: {endpoint}. What else a body holds goes to the model as it is.",
        body={JSON: body},
        answers={200: answer},
        errors=(400, 404, 413, 422, 429, 502, 504),
    )


CALLS: Mapping[str, Call] = {
    "GET /healthz": Call(about="Whether the process answers.", keyless=True, answers=said("Health")),
    "GET /readyz": Call(
        about="Whether the server takes work, and how each model stands.",
        keyless=True,
        answers=said("Readiness", also=503),
    ),
    "GET /metrics": Call(about="Everything measured, for Prometheus.", keyless=True, answers={200: {"text/plain": {}}}),
    "GET /openapi.json": Call(about="This document.", keyless=True, answers={200: {JSON: {"type": "object"}}}),
    "POST /files": Call(
        about="Send a file; its fields may come in any order.",
        parameters=_ONCE,
        body=_FORM,
        answers=said("File", also=201),
        errors=(400, 409, 413, 429),
    ),
    "GET /files": Call(
        about=f"A page of the project's files: at most {files.LIST_LIMIT}.",
        parameters=(*_PAGES, parameter("purpose", TEXT)),
        answers=said("FilePage"),
        errors=(400,),
    ),
    "GET /files/{id}": Call(about="One file.", answers=said("File"), errors=(404,)),
    "DELETE /files/{id}": Call(about="Delete a file.", answers=said("FileDeleted"), errors=(404, 409)),
    "GET /files/{id}/content": Call(
        about="A file's bytes, or a range of them.",
        parameters=_READING,
        answers={200: {BYTES: {}}, 206: {BYTES: {}}, 304: {}},
        errors=(404, 416),
    ),
    "POST /uploads": Call(
        about="Begin to send a large file in parts.",
        parameters=_ONCE,
        body={JSON: _UPLOAD},
        answers=said("Upload"),
        errors=(400, 409, 413, 429),
    ),
    "POST /uploads/{id}/parts": Call(
        about="Send one part.", body=_PART, answers=said("Part"), errors=(400, 404, 409, 413, 429)
    ),
    "POST /uploads/{id}/complete": Call(
        about="Make the file of its parts.",
        body={JSON: _COMPLETION},
        answers=said("Upload"),
        errors=(400, 404, 409, 413, 429),
    ),
    "POST /uploads/{id}/cancel": Call(about="Give an upload up.", answers=said("Upload"), errors=(400, 404, 409)),
    "POST /batches": Call(
        about="Ask for a batch. Its input is looked at later.",
        parameters=_ONCE,
        body={JSON: _BATCH},
        answers=said("Batch", also=201),
        errors=(400, 404, 409, 413, 429),
    ),
    "GET /batches": Call(
        about="A page of the project's batches: at most 100, 20 where no limit is given.",
        parameters=(*_PAGES, *_ODATA),
        answers=said("BatchPage"),
        errors=(400,),
    ),
    "GET /batches/{id}": Call(about="One batch, as it stands.", answers=said("Batch"), errors=(404,)),
    "POST /batches/{id}/cancel": Call(
        about="Ask a batch to end with what it has.", answers=said("Batch"), errors=(404, 409)
    ),
    "POST /batches/{id}/retry": Call(
        about="Ask the lines of an ended batch again that did not succeed.",
        parameters=_ONCE,
        body={JSON: _RETRY},
        body_required=False,
        answers=said("Batch", also=201),
        errors=(400, 404, 409, 413, 429),
    ),
    "GET /batches/{id}/results": Call(
        about="The next results of a batch, before it has ended too.",
        parameters=_RESULTS,
        answers={200: {"application/jsonl": {}}},
        errors=(400, 404),
    ),
    "GET /batches/{id}/events": Call(
        about="What happens to a batch, as server-sent events, until it has ended.",
        parameters=_LAST_SEEN,
        answers={200: {EVENTS: {}}, 204: {}},
        errors=(404, 429),
    ),
    "GET /events": Call(
        about="What happens to the project's batches, as server-sent events.",
        parameters=_LAST_SEEN,
        answers={200: {EVENTS: {}}},
        errors=(429,),
    ),
    "POST /webhook_endpoints": Call(
        about="A new endpoint, with its secret.",
        body={JSON: record(_ENDPOINT)},
        answers=said("WebhookEndpointWithSecret"),
        errors=(400, 413, 429),
    ),
    "GET /webhook_endpoints": Call(
        about="A page of the project's endpoints.",
        parameters=_PAGES,
        answers=said("WebhookEndpointPage"),
        errors=(400,),
    ),
    "GET /webhook_endpoints/{id}": Call(about="One endpoint.", answers=said("WebhookEndpoint"), errors=(404,)),
    "POST /webhook_endpoints/{id}": Call(
        about="Change what is given of an endpoint.",
        body={JSON: record({name: maybe(each) for name, each in _ENDPOINT.items()}, optional=_ENDPOINT)},
        answers=said("WebhookEndpoint"),
        errors=(400, 404, 413),
    ),
    "DELETE /webhook_endpoints/{id}": Call(
        about="Delete an endpoint.", answers=said("WebhookEndpointDeleted"), errors=(404,)
    ),
    "POST /webhook_endpoints/{id}/rotate_secret": Call(
        about="Give an endpoint a new secret.",
        body={JSON: _ROTATION},
        body_required=False,
        answers=said("WebhookEndpointWithSecret"),
        errors=(400, 404, 413),
    ),
    "POST /webhook_endpoints/{id}/test": Call(
        about="Send an endpoint an event of a batch that never was.",
        body={JSON: _TRIAL},
        answers=said("WebhookTrial"),
        errors=(400, 404, 413),
    ),
    "GET /webhook_event_types": Call(about="What can be heard of.", answers=said("WebhookEventTypes")),
    "GET /models": Call(about="All models.", answers=said("ModelList")),
    "GET /models/{name}": Call(about="One model.", answers=said("Model"), errors=(404,)),
    "POST /chat/completions": _inference("chat", {"messages": _MESSAGES}, _STREAM),
    "POST /completions": _inference("text", {"prompt": _PROMPT}, _STREAM),
    "POST /responses": _inference("responses", {"input": _PROMPT}, _STREAM),
    "POST /embeddings": _inference("vectors", {"input": _PROMPT}, _VECTORS),
    "POST /score": _inference("score", {}, {}),
    "POST /rerank": _inference("rerank", {}, {}),
    "POST /images/generations": _inference("pictures", {"prompt": TEXT}, _PICTURES),
    "GET /organization/costs": Call(
        about="What was spent, day by day.", parameters=_COSTS, answers=said("CostsPage"), errors=(400,)
    ),
}
