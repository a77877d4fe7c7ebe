"""`/v1/batches`: asking for batches, watching and cancelling them."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.azure_filter import batch_direction, batch_filter
from batchyard.dialects.openai.calls import batch_fields, list_call
from batchyard.dialects.openai.objects import batch_object, page
from batchyard.domain.batch import Form
from batchyard.server.access import caller_of
from batchyard.server.body import read_call
from batchyard.server.house import house_of
from batchyard.server.replies import reply
from batchyard.server.visit import visit_of
from batchyard.service.batches import CreateBatch


async def create_batch(request: Request) -> Response:
    """Ask for a batch. Its input is looked at later, so that this answers at once."""
    caller = await caller_of(request)
    form = visit_of(request).form
    asked = CreateBatch(form=form, **await read_call(request, batch_fields))
    key = request.headers.get("idempotency-key")
    batch = await house_of(request).batches.create(caller, asked, idempotency_key=key)
    if form is not Form.AZURE:
        return reply(batch_object(batch))
    response = reply(batch_object(batch), 201)
    enqueued = await house_of(request).batches.enqueued(caller, batch.input_file_id)
    if enqueued is not None:
        response.headers["deployment-enqueued-tokens"] = str(enqueued.tokens)
        response.headers["deployment-maximum-enqueued-tokens"] = str(enqueued.most)
    return response


async def list_batches(request: Request) -> Response:
    """A page of the project's batches, newest first."""
    caller = await caller_of(request)
    query = request.query_params
    call = list_call(query)
    batches = await house_of(request).batches.list(
        caller,
        after=call.after,
        limit=call.limit,
        direction=batch_direction(query, call.direction),
        where=batch_filter(query),
    )
    return reply(page([batch_object(batch) for batch in batches.rows], more=batches.more))


async def get_batch(request: Request) -> Response:
    """One batch, as it stands."""
    caller = await caller_of(request)
    return reply(batch_object(await house_of(request).batches.get(caller, request.path_params["id"])))


async def cancel_batch(request: Request) -> Response:
    """Ask a batch to end with what it has."""
    caller = await caller_of(request)
    return reply(batch_object(await house_of(request).batches.cancel(caller, request.path_params["id"])))


ROUTES = [
    Route("/batches", create_batch, methods=["POST"]),
    Route("/batches", list_batches),
    Route("/batches/{id}", get_batch),
    Route("/batches/{id}/cancel", cancel_batch, methods=["POST"]),
]
