"""Batches on the Gemini wire: what a creation asks, and the operation that a batch is shown as.

Results stand in `metadata.output`, where the official client looks, and in `response`, where others do. 64-bit integers
are strings, counts of zero are left out, and there is no state for a batch that is being cancelled.
Source: the Gemini API reference, "Batch API"; google.longrunning.Operation.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.faults import told
from batchyard.dialects.gemini.generate import model_name
from batchyard.dialects.gemini.spelling import Json, camel
from batchyard.dialects.gemini.times import timestamp
from batchyard.dialects.gemini.unfit import Rpc, Shapeless, Unfit
from batchyard.dialects.gemini.webhooks import hooks_of
from batchyard.dialects.lines._ascii import one_line
from batchyard.domain.batch import Batch, BatchId, BatchState, output_name, short
from batchyard.domain.hooks import Hooks

T = TypeVar("T")

EMBEDDINGS = "/v1/embeddings"
MOST_NAME = 512
PAGE, MOST = 50, 1000

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_TYPES = "type.googleapis.com/google.ai.generativelanguage.v1main."
_ASKED = frozenset({"model", "displayName", "inputConfig", "priority", "webhookConfig"})
_OURS = frozenset({"name", "output", "createTime", "endTime", "updateTime", "batchStats", "state"})
"""Fields that only answers have: whoever gives one back means nothing by it."""
_SOURCES = frozenset({"fileName", "requests"})
_INLINE = frozenset({"request", "metadata"})
_INT64 = 1 << 63

STATES: Mapping[BatchState, str] = {
    BatchState.VALIDATING: "BATCH_STATE_PENDING",
    BatchState.IN_PROGRESS: "BATCH_STATE_RUNNING",
    BatchState.FINALIZING: "BATCH_STATE_RUNNING",
    BatchState.CANCELLING: "BATCH_STATE_RUNNING",
    BatchState.COMPLETED: "BATCH_STATE_SUCCEEDED",
    BatchState.FAILED: "BATCH_STATE_FAILED",
    BatchState.CANCELLED: "BATCH_STATE_CANCELLED",
    BatchState.EXPIRED: "BATCH_STATE_EXPIRED",
}
_ENDS: Mapping[BatchState, tuple[Rpc, str]] = {
    BatchState.FAILED: (Rpc.INVALID_ARGUMENT, "The batch could not run."),
    BatchState.CANCELLED: (Rpc.CANCELLED, "The batch was cancelled."),
    BatchState.EXPIRED: (Rpc.DEADLINE_EXCEEDED, "The batch did not end in time."),
}


class Creation(Struct, frozen=True, kw_only=True):
    """What a caller asks for. Either `file` is named or `rows` are given, as the lines of such a file would be."""

    file: str | None = None
    rows: bytes | None = None
    model: str | None = None
    display_name: str | None = None
    priority: int | None = None
    hooks: Hooks | None = None


class Description(Struct, frozen=True):
    """What a caller changes. None: nothing."""

    display_name: str | None = None
    priority: int | None = None


def creation(body: bytes) -> Creation:
    """The body of `:batchGenerateContent` or `:asyncBatchEmbedContent`. Raises Unfit."""
    batch = _fields(_member(_fields(body, "the body"), "batch", ""), "batch")
    read.only({name: None for name in batch if name not in _OURS}, _ASKED, "batch")
    source = _fields(_member(batch, "inputConfig", "batch"), "batch.inputConfig")
    read.only(dict.fromkeys(source), _SOURCES, "batch.inputConfig")
    if len(source) != 1:
        raise Shapeless(
            "A batch has either a file or requests.", "batch.inputConfig", "Give 'fileName' or 'requests', one of them."
        )
    said = _Said(batch, "batch")
    model = said.value("model", read.text)
    return Creation(
        file=_Said(source, "batch.inputConfig").value("fileName", read.text),
        rows=_rows(source["requests"]) if "requests" in source else None,
        model=None if model is None else model_name(model),
        display_name=_display_name(said),
        priority=_priority(said),
        hooks=said.value("webhookConfig", hooks_of),
    )


def description(body: bytes, mask: str | None) -> Description:
    """The body of an update, a batch of which the fields in the mask are taken. Raises Unfit."""
    said = _Said(_fields(body, "the body"), "")
    named = {camel(each.strip()) for each in mask.split(",") if each.strip()} if mask else set(said.names) - _OURS
    read.only(dict.fromkeys(named), {"displayName", "priority"}, "updateMask")
    return Description(
        _display_name(said) if "displayName" in named else None, _priority(said) if "priority" in named else None
    )


def operation(batch: Batch, output: Json | None = None) -> Json:
    """A batch as an operation; `output` is what stands where its results do, None: they are not shown."""
    kind = "EmbedContentBatch" if batch.endpoint == EMBEDDINGS else "GenerateContentBatch"
    ended = batch.state.terminal
    metadata: Json = {
        "@type": f"{_TYPES}{kind}",
        "model": f"models/{batch.asked_model}",
        "displayName": batch.display_name or "",
        "createTime": timestamp(batch.created_at),
        "updateTime": timestamp(batch.moved_at),
        "batchStats": _stats(batch),
        "state": STATES[batch.state],
        "name": _name(batch),
    }
    if not batch.inline:
        metadata["inputConfig"] = {"fileName": f"files/{batch.input_file_id.removeprefix('file-')}"}
    if batch.priority:
        metadata["priority"] = str(batch.priority)
    if ended:
        metadata["endTime"] = timestamp(batch.moved_at)
    shown: Json = {"name": _name(batch), "metadata": metadata}
    if output is not None:
        metadata["output"] = output
    if ended:
        shown["done"] = True
    if batch.state is BatchState.COMPLETED and output is not None:
        shown["response"] = {"@type": f"{_TYPES}{kind}Output"} | output
    if batch.state in _ENDS:
        shown["error"] = _error(batch)
    return shown


def file_output(batch: Batch) -> Json | None:
    """Where the results of a batch of a file lie; None where there are none, or they are not in a file for callers."""
    if batch.inline or batch.output_file_id is None:
        return None
    return {"responsesFile": f"files/{output_name(batch.id)}"}


def inline_output(rows: Raw) -> Json:
    """The results of a batch that was given inline; `rows` is a JSON array of them."""
    return {"inlinedResponses": {"inlinedResponses": rows}}


def batch_id(name: str) -> BatchId:
    """The id of a batch of this wire's name."""
    return BatchId(f"batch_{name}")


def _name(batch: Batch) -> str:
    return f"batches/{short(batch.id)}"


def _stats(batch: Batch) -> Json:
    """Rows by what became of them. Those that never ran because the batch ended have failed: their rows say why."""
    counts = batch.counts
    failed = counts.failed + counts.cancelled + counts.expired
    numbers = {
        "requestCount": counts.total,
        "successfulRequestCount": counts.completed,
        "failedRequestCount": failed,
        "pendingRequestCount": counts.total - counts.completed - failed,
    }
    return {name: str(number) for name, number in numbers.items() if number}


def _error(batch: Batch) -> Json:
    code, message = _ENDS[batch.state]
    return {"code": int(code), "message": told(batch.errors, batch.error_count) or message}


class _Said:
    """The members of an object, read as they are asked for."""

    def __init__(self, members: Mapping[str, Raw], where: str) -> None:
        self.names = members.keys()
        self._members = members
        self._where = where

    def value(self, name: str, read_as: Callable[[object, str], T]) -> T | None:
        """A member; None where it is absent or null."""
        field = f"{self._where}.{name}" if self._where else name
        given: Any = msgspec.json.decode(self._members.get(name, Raw(b"null")))
        return None if given is None else read_as(given, field)


def _display_name(said: _Said) -> str | None:
    name = said.value("displayName", read.text)
    if name is not None and len(name) > MOST_NAME:
        raise Unfit(f"The display name has {len(name)} characters.", "displayName", f"It has at most {MOST_NAME}.")
    return name


def _priority(said: _Said) -> int | None:
    priority = said.value("priority", read.whole)
    if priority is not None and not -_INT64 <= priority < _INT64:
        raise Unfit("The priority is no integer of 64 bits.", "priority", "Give a smaller number.")
    return priority


def _rows(requests: Raw) -> bytes:
    """Requests of the body as lines of a file: never built, only cut out."""
    field = "batch.inputConfig.requests"
    members = _fields(requests, field)
    read.only(dict.fromkeys(members), {"requests"}, field)
    listed = _decoded(_member(members, "requests", field), list[Raw], f"{field}.requests", "an array")
    if not listed:
        raise Shapeless("There are no requests.", f"{field}.requests", "Add at least one.")
    return b"".join(_row(each, f"{field}.requests[{number}]") for number, each in enumerate(listed))


def _row(given: Raw, field: str) -> bytes:
    members = _fields(given, field)
    read.only(dict.fromkeys(members), _INLINE, field)
    _member(members, "request", field)
    written = [f'"{name}":'.encode() + bytes(value) for name, value in members.items()]
    row = one_line(b"{" + b",".join(written) + b"}")
    if row is None:
        raise Shapeless(f"'{field}' is not valid JSON.", field)
    return row + b"\n"


def _member(members: Mapping[str, Raw], name: str, where: str) -> Raw:
    if name not in members or bytes(members[name]).strip() == b"null":
        field = f"{where}.{name}" if where else name
        raise Shapeless(f"'{field}' is missing.", field, "Add it.")
    return members[name]


def _fields(given: bytes | Raw, field: str) -> dict[str, Raw]:
    """The members of an object, in camelCase."""
    found: dict[str, Raw] = {}
    for key, value in _decoded(given, dict[str, Raw], field, "an object").items():
        name = camel(key)
        if name in found:
            raise Shapeless(f"The field '{name}' is there twice.", name, "Write it once, in one spelling.")
        found[name] = value
    return found


def _decoded(given: bytes | Raw, kind: type[T], field: str, called: str) -> T:
    try:
        return msgspec.json.decode(given, type=kind)
    except msgspec.ValidationError:
        raise Shapeless(f"'{field}' must be {called}.", field) from None
    except _BROKEN as error:
        raise Shapeless(f"The body of your request is not valid JSON: {error}.") from None
