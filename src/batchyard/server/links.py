"""Where a caller finds this server: the beginning of absolute addresses that answers have in them.

Made from the call itself, because only the caller's own way in is known to work for the caller. What a proxy says of
the way before it is believed only where the server is told that there is one: anybody can send such headers.
"""

import re
from collections.abc import Callable

from starlette.requests import Request

from batchyard.server.house import house_of
from batchyard.server.paths import GEMINI
from batchyard.server.visit import visit_of

_scheme = re.compile(r"https?").fullmatch
_host = re.compile(r"[A-Za-z0-9.-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?").fullmatch
_prefix = re.compile(r"(?:/[A-Za-z0-9._~-]+)+").fullmatch


def root_of(request: Request) -> str:
    """Scheme and host, and the prefix that a proxy took off."""
    scheme, host, prefix = request.url.scheme, request.url.netloc, ""
    if house_of(request).behind_proxy:
        scheme = _told(request, "x-forwarded-proto", _scheme) or scheme
        host = _told(request, "x-forwarded-host", _host) or host
        prefix = _told(request, "x-forwarded-prefix", _prefix)
    return f"{scheme}://{host}{prefix}"


def gemini_base(request: Request) -> str:
    """What stands before the version in addresses of Gemini's wire."""
    return root_of(request) + (GEMINI if visit_of(request).path.startswith(f"{GEMINI}/") else "")


def same_path(request: Request) -> str:
    """The call's own address, without its query."""
    return root_of(request) + visit_of(request).path


def _told(request: Request, header: str, right: Callable[[str], object]) -> str:
    """The first value of a header, which is the outermost proxy's; none where it is not of its form."""
    value = request.headers.get(header, "").partition(",")[0].strip().rstrip("/")
    return value if right(value) else ""
