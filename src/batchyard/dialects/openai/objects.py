"""The objects of the OpenAI wire, from the domain to plain JSON values: every field, always, in the wire's own types.

Times are whole seconds, absent ids are null. Strict clients refuse a missing or mistyped field, lists without a boolean
`has_more` make them ask for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.domain.batch import Batch, BatchState, Form
from batchyard.domain.event import Event
from batchyard.domain.file import File
from batchyard.domain.line import LineError
from batchyard.domain.price import amount_of
from batchyard.domain.result import Usage
from batchyard.domain.upload import Part, Upload

Object = dict[str, Any]

SHOWN_ERRORS = 100
"""How many of a batch's line errors its object shows; one more entry says how many are left out."""

_AZURE_WORDS = {"invalid_url": "url_mismatch", "mismatched_model": "model_mismatch"}
"""Codes of lines that Azure spells in its own way."""

_WITHOUT_USAGE = frozenset({BatchState.VALIDATING, BatchState.FAILED, BatchState.IN_PROGRESS, BatchState.CANCELLING})


def model_object(name: str, created: int, owned_by: str) -> Object:
    return {"id": name, "object": "model", "created": created, "owned_by": owned_by, "shutdown_date": None}


def file_object(file: File) -> Object:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": str(file.status),
        "status_details": None,
    }


def deleted_file(id: str) -> Object:
    return {"id": id, "object": "file", "deleted": True}


def upload_object(upload: Upload, file: File | None = None) -> Object:
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": upload.created_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": str(upload.state),
        "expires_at": upload.expires_at,
        "file": None if file is None else file_object(file),
    }


def part_object(part: Part) -> Object:
    return {"id": part.id, "object": "upload.part", "created_at": part.created_at, "upload_id": part.upload_id}


def batch_object(batch: Batch) -> Object:
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": _errors(batch),
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": str(batch.state),
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        "in_progress_at": batch.in_progress_at,
        "expires_at": batch.expires_at,
        "finalizing_at": batch.finalizing_at,
        "completed_at": batch.completed_at,
        "failed_at": batch.failed_at,
        "expired_at": batch.expired_at,
        "cancelling_at": batch.cancelling_at,
        "cancelled_at": batch.cancelled_at,
        "request_counts": {
            "total": batch.counts.total,
            "completed": batch.counts.completed,
            "failed": batch.counts.failed,
        },
        "usage": None if batch.state in _WITHOUT_USAGE else _usage(batch.usage),
        "metadata": batch.metadata,
        "priority": batch.priority,
        "cost": _cost(batch),
    }


def event_object(kind: str, at: int, batch: Batch, event: Event | None = None) -> Object:
    """Something that happened to a batch; one of our own that has no event in the store has no id."""
    object: Object = {"object": "event", "type": kind, "created_at": at, "data": batch_object(batch)}
    return object if event is None else {"id": event.id} | object


def page(objects: Sequence[Object], *, more: bool) -> Object:
    """A page of a list. Clients go on after the last object of `data`, and only where `has_more` is true."""
    return {
        "object": "list",
        "data": objects,
        "first_id": objects[0]["id"] if objects else None,
        "last_id": objects[-1]["id"] if objects else None,
        "has_more": more,
    }


def _usage(usage: Usage) -> Object:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _cost(batch: Batch) -> Object | None:
    """What a batch has cost: no field of the services' own, so that it may say an amount exactly."""
    if batch.cost_nanos is None:
        return None
    return {"amount": amount_of(batch.cost_nanos), "currency": batch.currency}


def _errors(batch: Batch) -> Object | None:
    if not batch.error_count and not batch.errors:
        return None
    words = _AZURE_WORDS if batch.form is Form.AZURE else {}
    shown = [_error(error, words) for error in batch.errors[:SHOWN_ERRORS]]
    left_out = max(batch.error_count, len(batch.errors)) - len(shown)
    if left_out > 0:
        message = f"{left_out} more lines of the input file cannot run."
        shown.append({"code": "too_many_errors", "message": message, "param": None, "line": None})
    return {"object": "list", "data": shown}


def _error(error: LineError, words: Mapping[str, str]) -> Object:
    message = f"{error.message} {error.remedy}".strip()
    return {
        "code": words.get(error.code, error.code),
        "message": message,
        "param": error.param,
        "line": error.number or None,
    }
