"""Batches on the Gemini wire: made of a file or of the requests in the call, shown as operations."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.gemini import batches as wire
from batchyard.dialects.gemini.embed import EMBEDDINGS
from batchyard.dialects.gemini.files import named_in
from batchyard.dialects.gemini.generate import CHAT, IMAGES, model_name
from batchyard.dialects.gemini.models import page_of
from batchyard.dialects.gemini.unfit import Shapeless
from batchyard.domain.access import Action, Caller
from batchyard.domain.batch import Batch, Form, short
from batchyard.domain.errors import Invalid, NotFound
from batchyard.domain.file import ID_PREFIX, FileId
from batchyard.server.access import caller_of
from batchyard.server.body import read_body
from batchyard.server.house import House, house_of
from batchyard.server.http.gemini.naming import named
from batchyard.server.paths import GEMINI
from batchyard.server.replies import JSON, reply
from batchyard.server.send import Bytes
from batchyard.service.access import require
from batchyard.service.files import Content
from batchyard.service.model_batches import CreateModelBatch


async def generate_batch(request: Request) -> Response:
    """`:batchGenerateContent`"""
    return await _create(request, CHAT)


async def embed_batch(request: Request) -> Response:
    """`:asyncBatchEmbedContent`"""
    return await _create(request, EMBEDDINGS)


async def list_batches(request: Request) -> Response:
    """The project's batches of this wire, newest first. Results that came inline are not in the list."""
    caller, query = await caller_of(request), request.query_params
    asked = page_of(query.get("pageSize") or query.get("page_size"), query.get("pageToken") or query.get("page_token"))
    after = None if asked.after is None else wire.batch_id(asked.after)
    found = await house_of(request).model_batches.list(caller, Form.GEMINI, after=after, limit=asked.size)
    shown = {"operations": [wire.operation(batch, wire.file_output(batch)) for batch in found.rows]}
    token = {"nextPageToken": short(found.rows[-1].id)} if found.more else {}
    return reply(shown | token)


async def get_batch(request: Request) -> Response:
    """One batch, with its results where they are asked for inline."""
    caller, house = await caller_of(request), house_of(request)
    batch = await house.model_batches.get(caller, wire.batch_id(request.path_params["id"]), Form.GEMINI)
    results = await _inline_results(house, caller, batch)
    if results is None:
        return reply(wire.operation(batch, wire.file_output(batch)))
    return _with_rows(batch, results, house.new_id("rows_"))


async def cancel_batch(request: Request) -> Response:
    """Let a batch end with what it has."""
    caller = await caller_of(request)
    await house_of(request).model_batches.cancel(caller, wire.batch_id(request.path_params["id"]), Form.GEMINI)
    return reply({})


async def delete_batch(request: Request) -> Response:
    """Let a batch end and be gone."""
    caller = await caller_of(request)
    await house_of(request).model_batches.delete(caller, wire.batch_id(request.path_params["id"]), Form.GEMINI)
    return reply({})


async def update_batch(request: Request) -> Response:
    """Change the name or the priority of a batch that has not ended; the answer is the batch, not an operation."""
    caller, house = await caller_of(request), house_of(request)
    body = await read_body(request, house.limits.call_bytes)
    asked = wire.description(body, request.query_params.get("updateMask") or request.query_params.get("update_mask"))
    batch = await house.model_batches.describe(
        caller, wire.batch_id(request.path_params["id"]), Form.GEMINI,
        display_name=asked.display_name, priority=asked.priority,
    )  # fmt: skip
    return reply(wire.operation(batch)["metadata"])


async def _create(request: Request, endpoint: str) -> Response:
    caller, house, name = await caller_of(request), house_of(request), request.path_params["name"]
    require(caller, Action.RUN_BATCHES)
    body = await read_body(request, house.limits.inline_bytes)
    _require_served(house, name, endpoint)
    asked = await house.apart(lambda: wire.creation(body))
    if asked.model is not None and asked.model != model_name(name):
        raise Shapeless(f"The body names the model '{asked.model}', its path '{name}'.", "batch.model", "Name one.")
    batch = await house.model_batches.create(
        caller,
        CreateModelBatch(
            model=name,
            endpoint=endpoint,
            form=Form.GEMINI,
            input_file_id=None if asked.file is None else await _file_id(house, caller, asked.file),
            lines=asked.rows,
            display_name=asked.display_name,
            priority=asked.priority,
            hooks=asked.hooks,
        ),
        idempotency_key=request.headers.get("idempotency-key"),
    )
    return reply(wire.operation(batch))


async def _file_id(house: House, caller: Caller, given: str) -> FileId:
    """The file of a name; where there is none, an id that the service will not find either."""
    name = named_in(given).name
    try:
        return (await house.files.named(caller, name)).id
    except NotFound:
        return FileId(f"{ID_PREFIX}{name}")


def _require_served(house: House, name: str, endpoint: str) -> None:
    """Raises NotFound for an unknown model, Invalid for one that does something else. One that has not started may."""
    own = named(name, lambda: house.models.own_name(name))
    able = house.models.names_for(endpoint) | (house.models.names_for(IMAGES) if endpoint == CHAT else frozenset[str]())
    if own not in able:
        what = "embed" if endpoint == EMBEDDINGS else "generate content"
        raise Invalid(f"The model '{name}' does not {what}.", remedy="GET /v1beta/models says what each one does.")


async def _inline_results(house: House, caller: Caller, batch: Batch) -> Content | None:
    """The rows of an ended batch that was given inline; None where there are none, or none any more."""
    if not batch.inline or batch.output_file_id is None:
        return None
    try:
        return await house.files.content(caller, batch.output_file_id)
    except NotFound:
        return None


def _with_rows(batch: Batch, results: Content, mark: str) -> Response:
    """An operation with the rows of its results in it, read while it is sent: once for each place where they stand.

    `mark` holds their places until then.
    """
    marked = msgspec.json.encode(mark)
    whole = msgspec.json.encode(wire.operation(batch, wire.inline_output(Raw(marked))))
    pieces = whole.split(marked)
    rows_bytes = results.file.bytes + 1  # brackets around, commas for the ends of lines, but for the last

    async def written() -> AsyncGenerator[bytes]:
        for number, piece in enumerate(pieces):
            if number:
                yield b"["
                async with aclosing(results.read(0, results.file.bytes - 1)) as chunks:
                    async for chunk in chunks:
                        yield chunk.replace(b"\n", b",")
                yield b"]"
            yield piece

    size = sum(len(piece) for piece in pieces) + rows_bytes * (len(pieces) - 1)
    response = Bytes(written, size, 200, {})
    response.headers["content-type"] = JSON
    return response


_BATCH = f"{GEMINI}/batches/{{id}}"
ROUTES = [
    Route(f"{GEMINI}/models/{{name:path}}:batchGenerateContent", generate_batch, methods=["POST"]),
    Route(f"{GEMINI}/models/{{name:path}}:asyncBatchEmbedContent", embed_batch, methods=["POST"]),
    Route(f"{GEMINI}/batches", list_batches),
    Route(f"{_BATCH}:cancel", cancel_batch, methods=["POST"]),
    Route(f"{_BATCH}:delete", delete_batch, methods=["POST"]),
    Route(f"{_BATCH}:updateGenerateContentBatch", update_batch, methods=["PATCH"]),
    Route(f"{_BATCH}:updateEmbedContentBatch", update_batch, methods=["PATCH"]),
    Route(_BATCH, get_batch),
    Route(_BATCH, delete_batch, methods=["DELETE"]),
]
