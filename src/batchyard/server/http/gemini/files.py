"""`/v1beta/files`: listing, reading and deleting files; their sending is `uploads.py`."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.gemini.errors import outside
from batchyard.dialects.gemini.files import file_object, files_asked, files_page, mime_type_of, named_in, no_page
from batchyard.domain.errors import Invalid
from batchyard.server.access import caller_of
from batchyard.server.content import sent
from batchyard.server.house import house_of
from batchyard.server.http.gemini.naming import file_named
from batchyard.server.links import gemini_base
from batchyard.server.paths import GEMINI
from batchyard.server.replies import reply


async def list_files(request: Request) -> Response:
    """Files page by page, newest first, results too."""
    caller, asked = await caller_of(request), files_asked(request.query_params)
    try:
        files = await house_of(request).files.list(caller, after=asked.after, limit=asked.size)
    except Invalid as error:
        raise no_page() if error.param == "after" else error from None
    return reply(files_page(files.rows, gemini_base(request), more=files.more))


async def get_file(request: Request) -> Response:
    """One file, or with `:download` behind its name its bytes."""
    caller, house = await caller_of(request), house_of(request)
    asked = named_in(request.path_params["name"])
    file = await file_named(house.files, caller, asked.name)
    if not asked.download:
        return reply(file_object(file, gemini_base(request)))
    content = await house.files.content(caller, file.id)
    return sent(request, content, outside(file.bytes), mime_type_of(file))


async def delete_file(request: Request) -> Response:
    """Delete a file."""
    caller, house = await caller_of(request), house_of(request)
    file = await file_named(house.files, caller, named_in(request.path_params["name"]).name)
    await house.files.delete(caller, file.id)
    return reply({})


ROUTES = [
    Route(f"{GEMINI}/files", list_files),
    Route(f"{GEMINI}/files/{{name:path}}", get_file),
    Route(f"{GEMINI}/files/{{name:path}}", delete_file, methods=["DELETE"]),
]
