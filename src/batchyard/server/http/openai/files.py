"""`/v1/files`: sending, listing, reading and deleting files."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.openai.calls import form_expiry, list_call
from batchyard.dialects.openai.errors import outside
from batchyard.dialects.openai.objects import deleted_file, file_object, page
from batchyard.domain.batch import Form
from batchyard.domain.file import File
from batchyard.server.access import caller_of
from batchyard.server.content import sent
from batchyard.server.house import house_of
from batchyard.server.parcel import Parcel
from batchyard.server.replies import reply
from batchyard.server.visit import visit_of


async def create_file(request: Request) -> Response:
    """Keep a file while it arrives; its purpose may come behind its bytes."""
    caller = await caller_of(request)
    house = house_of(request)
    parcel = Parcel(request, "file")
    async with house.files.receive(caller, size_bytes=parcel.announced_bytes) as receiving:
        await parcel.pour(receiving)
        file = await receiving.keep(
            parcel.filename,
            parcel.fields.get("purpose"),
            form_expiry(parcel.fields),
            idempotency_key=request.headers.get("idempotency-key"),
        )
    house.metrics.upload_bytes.inc(file.bytes)
    return _created(request, file)


async def list_files(request: Request) -> Response:
    """A page of the project's files, results too."""
    caller = await caller_of(request)
    call = list_call(request.query_params)
    files = await house_of(request).files.list(
        caller,
        after=call.after,
        limit=call.limit,
        direction=call.direction,
        purpose=request.query_params.get("purpose"),
    )
    return reply(page([file_object(file) for file in files.rows], more=files.more))


async def get_file(request: Request) -> Response:
    """One file."""
    caller = await caller_of(request)
    return reply(file_object(await house_of(request).files.get(caller, request.path_params["id"])))


async def delete_file(request: Request) -> Response:
    """Delete a file. The body that some clients announce is not read."""
    caller = await caller_of(request)
    file = await house_of(request).files.delete(caller, request.path_params["id"])
    return reply(deleted_file(file.id))


async def get_content(request: Request) -> Response:
    """A file's bytes: whole, or the range that was asked for."""
    caller = await caller_of(request)
    content = await house_of(request).files.content(caller, request.path_params["id"])
    return sent(request, content, outside(content.file.bytes))


def _created(request: Request, file: File) -> Response:
    if visit_of(request).form is not Form.AZURE:
        return reply(file_object(file))
    response = reply(file_object(file), 201)
    response.headers["location"] = str(request.url.replace(path=f"{visit_of(request).path.rstrip('/')}/{file.id}"))
    return response


ROUTES = [
    Route("/files", create_file, methods=["POST"]),
    Route("/files", list_files),
    Route("/files/{id}/content", get_content),
    Route("/files/{id}", get_file),
    Route("/files/{id}", delete_file, methods=["DELETE"]),
]
