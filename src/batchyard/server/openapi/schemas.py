"""What the objects on the wire look like, as JSON schemas: as `dialects.openai.objects` and its neighbours write them.

Every field is always there, so all are required; fields may be added later.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from batchyard.domain.batch import BatchState
from batchyard.domain.file import FileStatus
from batchyard.domain.upload import UploadState
from batchyard.domain.webhook import EVENT_KINDS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECOND: Schema = {"type": "integer", "description": "Unix seconds."}
YES: Schema = {"type": "boolean"}
PAIRS: Schema = {"type": "object", "additionalProperties": TEXT}


def ref(name: str) -> Schema:
    """The schema of an object by its name in `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def word(*words: str) -> Schema:
    """One of a few words."""
    return {"type": "string", "enum": list(words)}


def words(kind: type[StrEnum]) -> Schema:
    return word(*(str(each) for each in kind))


def maybe(schema: Schema) -> Schema:
    """A value or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def listed(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def record(fields: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """An object that always has its fields, but for those that are optional."""
    left_out = frozenset(optional)
    required = [name for name in fields if name not in left_out]
    return {"type": "object", "properties": dict(fields), "required": required}


def page_of(name: str) -> Schema:
    """A page of a list of objects."""
    return record(
        {
            "object": word("list"),
            "data": listed(ref(name)),
            "first_id": maybe(TEXT),
            "last_id": maybe(TEXT),
            "has_more": YES,
        }
    )


def list_of(items: Schema) -> Schema:
    """A list without pages."""
    return record({"object": word("list"), "data": listed(items)})


def _deleted(kind: str) -> Schema:
    return record({"id": TEXT, "object": word(kind), "deleted": {"const": True}})


_LINE_ERROR = record({"code": TEXT, "message": TEXT, "param": maybe(TEXT), "line": maybe(WHOLE)})
_USAGE = record(
    {
        "input_tokens": COUNT,
        "input_tokens_details": record({"cached_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": record({"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    }
)
_TIMES = ("in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at",
          "cancelled_at")  # fmt: skip
_ENDPOINT: Mapping[str, Schema] = {
    "id": TEXT,
    "object": word("webhook_endpoint"),
    "name": TEXT,
    "url": TEXT,
    "event_types": listed(word(*EVENT_KINDS)),
    "created_at": SECOND,
    "updated_at": SECOND,
    "signing_secret_hint": TEXT,
}

SCHEMAS: Mapping[str, Schema] = {
    "Error": record({"error": record({"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": maybe(TEXT)})}),
    "File": record(
        {
            "id": TEXT,
            "object": word("file"),
            "bytes": COUNT,
            "created_at": SECOND,
            "expires_at": maybe(SECOND),
            "filename": TEXT,
            "purpose": TEXT,
            "status": words(FileStatus),
            "status_details": {"type": "null"},
        }
    ),
    "FileDeleted": _deleted("file"),
    "FilePage": page_of("File"),
    "Upload": record(
        {
            "id": TEXT,
            "object": word("upload"),
            "bytes": COUNT,
            "created_at": SECOND,
            "filename": TEXT,
            "purpose": TEXT,
            "status": words(UploadState),
            "expires_at": SECOND,
            "file": maybe(ref("File")),
        }
    ),
    "Part": record({"id": TEXT, "object": word("upload.part"), "created_at": SECOND, "upload_id": TEXT}),
    "Batch": record(
        {
            "id": TEXT,
            "object": word("batch"),
            "endpoint": TEXT,
            "model": maybe(TEXT),
            "errors": maybe(list_of(_LINE_ERROR)),
            "input_file_id": TEXT,
            "completion_window": TEXT,
            "status": words(BatchState),
            "output_file_id": maybe(TEXT),
            "error_file_id": maybe(TEXT),
            "created_at": SECOND,
            **dict.fromkeys(_TIMES, maybe(SECOND)),
            "request_counts": record({"total": COUNT, "completed": COUNT, "failed": COUNT}),
            "usage": maybe(_USAGE),
            "metadata": maybe(PAIRS),
            "retry_of": maybe(TEXT),
            "priority": WHOLE,
            "cost": maybe(record({"amount": TEXT, "currency": TEXT})),
        }
    ),
    "BatchPage": page_of("Batch"),
    "WebhookEndpoint": record(_ENDPOINT),
    "WebhookEndpointWithSecret": record({**_ENDPOINT, "signing_secret": TEXT}),
    "WebhookEndpointDeleted": _deleted("webhook_endpoint.deleted"),
    "WebhookEndpointPage": page_of("WebhookEndpoint"),
    "WebhookTrial": record(
        {
            "object": word("webhook_endpoint.test"),
            "webhook_endpoint_id": TEXT,
            "event_type": word(*EVENT_KINDS),
            "status_code": WHOLE,
            "success": YES,
        }
    ),
    "WebhookEventTypes": list_of(word(*EVENT_KINDS)),
    "Model": record(
        {
            "id": TEXT,
            "object": word("model"),
            "created": SECOND,
            "owned_by": TEXT,
            "shutdown_date": {"type": "null"},
        }
    ),
    "ModelList": list_of(ref("Model")),
    "CostsPage": record(
        {
            "object": word("page"),
            "data": listed(ref("CostsBucket")),
            "has_more": YES,
            "next_page": maybe(TEXT),
        }
    ),
    "CostsBucket": record(
        {
            "object": word("bucket"),
            "start_time": SECOND,
            "end_time": SECOND,
            "results": listed(
                record(
                    {
                        "object": word("organization.costs.result"),
                        "amount": record({"value": {"type": "number"}, "currency": TEXT}),
                        "line_item": maybe(TEXT),
                        "project_id": maybe(TEXT),
                        "quantity": maybe(COUNT),
                        "quantity_unit": maybe(TEXT),
                        "api_key_id": {"type": "null"},
                        "api_source": {"type": "null"},
                        "user_id": {"type": "null"},
                    }
                )
            ),
        }
    ),
    "Health": record({"status": word("ok")}),
    "Readiness": record({"status": word("ready", "not ready"), "reason": TEXT, "models": PAIRS}, optional=["reason"]),
}
