"""`/upload/v1beta/files`: files that come over many calls. The first has a key, the others a secret address."""

from functools import partial
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.dialects.gemini import resumable as wire
from batchyard.dialects.gemini.files import file_object
from batchyard.dialects.gemini.unfit import Unfit
from batchyard.domain.access import Caller
from batchyard.domain.errors import BatchyardError, Forbidden, Unavailable
from batchyard.server.access import beginner_of, caller_of, given_caller
from batchyard.server.body import announced_bytes, pour, read_body
from batchyard.server.house import house_of
from batchyard.server.links import gemini_base, same_path
from batchyard.server.paths import GEMINI
from batchyard.server.replies import reply
from batchyard.server.visit import visit_of
from batchyard.service.resumables import CreateResumable, Received

ID = "upload_id"
DRAIN_BYTES = 16 << 20
"""The official clients send 8 MiB at once, and hear nothing before they are done."""


async def upload(request: Request) -> Response:
    """Begin an upload, or go on with one."""
    visit_of(request).drain_bytes = DRAIN_BYTES
    try:
        secret = request.query_params.get(ID)
        return await (_begin(request) if secret is None else _go_on(request, secret))
    except (BatchyardError, Unfit) as error:
        if not isinstance(error, Unavailable):  # without a status, clients send the same once more
            visit_of(request).headers[wire.STATUS] = "final"
        raise


async def _begin(request: Request) -> Response:
    caller, house = await caller_of(request), house_of(request)
    body = await read_body(request, house.limits.call_bytes)
    asked = wire.beginning(request.headers, body, house.limits.json_depth)
    _, secret = await house.resumables.create(caller, CreateResumable(**msgspec.structs.asdict(asked)))
    query = urlencode({ID: secret, "upload_protocol": "resumable"})
    headers = {
        "x-goog-upload-url": f"{same_path(request)}?{query}",
        wire.STATUS: "active",
        "x-goog-upload-chunk-granularity": str(wire.GRANULARITY_BYTES),
    }
    return Response(None, 200, headers)


async def _go_on(request: Request, secret: str) -> Response:
    caller, house = await _beginner(request, secret), house_of(request)
    asked = wire.command(request.headers)
    if asked.cancel:
        await house.resumables.cancel(caller, secret)
        return _told(request, "cancelled")
    if asked.query:
        received = await house.resumables.get(caller, secret)
        return _answer(request, received)
    offset = (await house.resumables.get(caller, secret)).bytes if asked.offset is None else asked.offset
    received = await house.resumables.receive(
        caller, secret, offset, partial(pour, request), last=asked.last, announced_bytes=announced_bytes(request)
    )
    house.metrics.upload_bytes.inc(max(received.bytes - offset, 0))
    return _answer(request, received)


async def _beginner(request: Request, secret: str) -> Caller:
    """On whose behalf bytes come: who knows the address may send them, as long as the key that it was told to works.

    A key that is sent along must be of the same project.
    """
    caller = await beginner_of(request, await house_of(request).resumables.beginner(secret))
    if (given := await given_caller(request)) is not None and given.project != caller.project:
        raise Forbidden("This upload was begun in another project.", remedy="Send its key, or none.")
    return caller


def _answer(request: Request, received: Received) -> Response:
    if received.file is None:
        return _told(request, "active", received)
    return _told(request, "final", received, {"file": file_object(received.file, gemini_base(request))})


def _told(request: Request, status: str, received: Received | None = None, body: object = None) -> Response:
    response = reply({} if body is None else body)
    response.headers[wire.STATUS] = status
    if received is not None:
        response.headers[wire.RECEIVED] = str(received.bytes)
    return response


ROUTES = [Route(f"{GEMINI}/upload/files", upload, methods=["POST", "PUT"])]
