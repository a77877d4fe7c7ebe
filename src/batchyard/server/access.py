"""Which secret a call carries: `Authorization: Bearer` or `api-key`, either on every path.

On Gemini's also `x-goog-api-key`, or `key` in the query, which its shell samples write.
"""

from urllib.parse import unquote_plus

from starlette.datastructures import Headers
from starlette.requests import Request

from batchyard.domain.access import Caller, KeyId, ProjectId
from batchyard.domain.batch import Form
from batchyard.domain.errors import Forbidden
from batchyard.server.house import house_of
from batchyard.server.options import is_loopback
from batchyard.server.visit import visit_of
from batchyard.telemetry import logs

_GEMINI_KEY = "x-goog-api-key"
_QUERY_KEY = b"key="
_GEMINI_NAMES = (_GEMINI_KEY, "x-goog-api-client")


async def caller_of(request: Request) -> Caller:
    """Who asks. Raises Unauthorized; and Forbidden where no keys are needed and a web page may be asking."""
    access = house_of(request).access
    if not access.keys:
        _require_program(request)
    caller = await access.authenticate(_secret(request))
    logs.note(project=caller.project, key_id=caller.key_id)
    return caller


async def beginner_of(request: Request, begun: tuple[ProjectId, KeyId | None]) -> Caller:
    """On whose behalf a call goes on that names what somebody began. Raises as `caller_of` does."""
    access = house_of(request).access
    if not access.keys:
        _require_program(request)
    caller = await access.bearer(*begun)
    logs.note(project=caller.project, key_id=caller.key_id)
    return caller


async def given_caller(request: Request) -> Caller | None:
    """Who asks, where the call says so; None where it carries no secret. Raises Unauthorized."""
    return None if _secret(request) is None else await house_of(request).access.authenticate(_secret(request))


def _require_program(request: Request) -> None:
    """Let no web page act for whoever looks at it: pages of others tell their origin, or reach us by another name."""
    if "origin" in request.headers or not is_loopback(request.url.hostname or ""):
        raise Forbidden(
            "This server needs no keys, so it answers to programs on this machine only, not to web pages.",
            remedy="Call it as http://127.0.0.1 or http://localhost, or let it need keys.",
        )


def speaks_gemini(headers: Headers, query: bytes) -> bool:
    """Whether a caller is one of Gemini's: it names itself so, or bears its key as they do and in no other way."""
    if any(name in headers for name in _GEMINI_NAMES):
        return True
    return secret_of(headers) is None and key_in(query)[0] is not None


def key_in(query: bytes) -> tuple[str | None, bytes]:
    """The key in a query, and the query without it."""
    if _QUERY_KEY not in query:
        return None, query
    fields = query.split(b"&")
    keys = [each.removeprefix(_QUERY_KEY) for each in fields if each.startswith(_QUERY_KEY)]
    rest = b"&".join(each for each in fields if not each.startswith(_QUERY_KEY))
    return (unquote_plus(keys[-1].decode("latin-1")).strip() or None) if keys else None, rest


def _secret(request: Request) -> str | None:
    if visit_of(request).form is not Form.GEMINI:
        return secret_of(request.headers)
    return request.headers.get(_GEMINI_KEY, "").strip() or visit_of(request).key or secret_of(request.headers)


def secret_of(headers: Headers) -> str | None:
    """The secret of a call, or None where it carries none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("api-key", "").strip() or None
