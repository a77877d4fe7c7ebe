"""What a door answers: JSON bytes, and refusals with the headers that clients act on."""

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from batchyard.dialects.gemini import errors as gemini
from batchyard.dialects.openai.errors import refusal, unknown_url, wrong_method
from batchyard.dialects.refusal import Refusal
from batchyard.domain.batch import Form
from batchyard.server.visit import Visit, visit_of

JSON = "application/json"


def reply(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def refuse(refused: Refusal) -> Response:
    """An error answer."""
    headers: dict[str, str] = {}
    if refused.heals is not None:
        headers["x-should-retry"] = "true" if refused.heals else "false"
    if refused.retry_after_seconds is not None:
        headers["retry-after"] = f"{refused.retry_after_seconds:g}"
    if refused.retry_after_milliseconds is not None:
        headers["retry-after-ms"] = str(refused.retry_after_milliseconds)
    return Response(refused.body, refused.status, headers, JSON)


def refused(error: Exception, visit: Visit) -> Response:
    """The answer to a call that raised an error, in the words of the wire that it came by."""
    return refuse(gemini.refusal(error) if visit.form is Form.GEMINI else refusal(error, visit.form))


async def refuse_error(request: Request, error: Exception) -> Response:
    """The answer to a call that raised an error of our tree."""
    return refused(error, visit_of(request))


async def refuse_route(request: Request, error: Exception) -> Response:
    """The answer where no route takes the call: an unknown path, or another method than it takes."""
    assert isinstance(error, HTTPException)
    visit = visit_of(request)
    if error.status_code == 405:
        told = gemini.wrong_method if visit.form is Form.GEMINI else wrong_method
        response = refuse(told(request.method, visit.path))
        response.headers.update(error.headers or {})
        return response
    if visit.form is Form.GEMINI:
        return refuse(gemini.unknown_url(request.method, visit.path))
    return refuse(unknown_url(request.method, visit.path, visit.form))
