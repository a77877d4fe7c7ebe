"""A file's bytes as an answer: whole, or the range that was asked for."""

from email.utils import formatdate
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from batchyard.dialects.refusal import Refusal
from batchyard.domain.file import File
from batchyard.server.ranges import span, unchanged
from batchyard.server.replies import refuse
from batchyard.server.send import Bytes
from batchyard.service.files import Content


def sent(request: Request, content: Content, outside: Refusal, media_type: str | None = None) -> Response:
    """The answer to a call for a file. `outside` says in the wire's words that no byte lies in the range."""
    file, headers = content.file, _headers(content.file)
    if unchanged(request.headers, headers["etag"]):
        return Response(None, 304, headers)
    part = span(request.headers, file.bytes, headers["etag"])
    if part is None:
        response = refuse(outside)
        response.headers["content-range"] = f"bytes */{file.bytes}"
        return response
    if part.partial:
        headers["content-range"] = f"bytes {part.start}-{part.end - 1}/{file.bytes}"
    status = 206 if part.partial else 200
    return Bytes(lambda: content.read(part.start, part.end), part.end - part.start, status, headers, media_type)


def _headers(file: File) -> dict[str, str]:
    return {
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
        "etag": f'"{file.sha256}"',
        "last-modified": formatdate(file.created_at, usegmt=True),
        "x-content-type-options": "nosniff",
    }
