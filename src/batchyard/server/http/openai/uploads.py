"""`/v1/uploads`: big files in parts."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.calls import completion_fields, upload_fields
from batchyard.dialects.openai.objects import part_object, upload_object
from batchyard.server.access import caller_of
from batchyard.server.body import read_call
from batchyard.server.house import house_of
from batchyard.server.parcel import Parcel
from batchyard.server.replies import reply
from batchyard.service.uploads import CreateUpload


async def create_upload(request: Request) -> Response:
    """Begin an upload."""
    caller = await caller_of(request)
    asked = CreateUpload(**await read_call(request, upload_fields))
    key = request.headers.get("idempotency-key")
    return reply(upload_object(await house_of(request).uploads.create(caller, asked, idempotency_key=key)))


async def add_part(request: Request) -> Response:
    """Take one part while it arrives."""
    caller = await caller_of(request)
    house = house_of(request)
    async with house.uploads.receive_part(caller, request.path_params["id"]) as receiving:
        await Parcel(request, "data").pour(receiving)
        part = await receiving.keep()
    house.metrics.upload_bytes.inc(part.bytes)
    return reply(part_object(part))


async def complete_upload(request: Request) -> Response:
    """Make the file of the parts."""
    caller = await caller_of(request)
    part_ids, md5 = await read_call(request, completion_fields)
    upload, file = await house_of(request).uploads.complete(caller, request.path_params["id"], part_ids, md5)
    return reply(upload_object(upload, file))


async def cancel_upload(request: Request) -> Response:
    """Give an upload up."""
    caller = await caller_of(request)
    return reply(upload_object(await house_of(request).uploads.cancel(caller, request.path_params["id"])))


ROUTES = [
    Route("/uploads", create_upload, methods=["POST"]),
    Route("/uploads/{id}/parts", add_part, methods=["POST"]),
    Route("/uploads/{id}/complete", complete_upload, methods=["POST"]),
    Route("/uploads/{id}/cancel", cancel_upload, methods=["POST"]),
]
