"""Whole files over HTTP: what a patient GET and a patient PUT share. Blocking; built on urllib3.

Requests to engines do not go this way: see `transport/http1.py`.
"""

import email.utils
import random
import re
import ssl
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import certifi
import urllib3
from msgspec import Struct

from batchyard.clock import Clock, SystemClock

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509})
REDIRECTS = frozenset({301, 302, 307, 308})
MOST_HOPS = 8
SLICE_SECONDS = 0.1
"""A wait looks this often whether it should end."""

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")


class Patience(Struct, frozen=True, kw_only=True):
    """How often and how long to try: `tries` in a row without progress, with jittered, doubling waits between them.

    A server's Retry-After goes before the wait, up to its own ceiling. `idle_seconds` without a byte count as a loss.
    """

    tries: int = 6
    backoff_seconds: float = 0.5
    backoff_ceiling_seconds: float = 30.0
    retry_after_ceiling_seconds: float = 300.0
    connect_seconds: float = 20.0
    idle_seconds: float = 60.0

    def wait_seconds(self, failures: int, retry_after: float | None, rng: random.Random) -> float:
        """How long to wait after the `failures`-th failure in a row."""
        if retry_after is not None:
            return min(retry_after, self.retry_after_ceiling_seconds)
        full = min(self.backoff_seconds * 2 ** (failures - 1), self.backoff_ceiling_seconds)
        return full * rng.uniform(0.5, 1.0)

    @property
    def timeout(self) -> urllib3.Timeout:
        return urllib3.Timeout(connect=self.connect_seconds, read=self.idle_seconds)


def scheme_of(place: str) -> str | None:
    """`https` of `https://...`, None of a path."""
    match = _SCHEME.match(place)
    return match.group(1).lower() if match else None


def is_url(place: str) -> bool:
    return scheme_of(place) in ("http", "https")


def redacted(url: str) -> str:
    """The URL without what may be a secret: no user, no query, no fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) + ("?..." if parts.query else "")


def transient(status: int) -> bool:
    """May the same request succeed later?"""
    return status in TRANSIENT or (500 <= status < 600 and status not in (501, 505))


def retry_after_seconds(value: str | None, clock: Clock | None = None) -> float | None:
    """The header of that name, in either form (RFC 9110 section 10.2.3); None where absent or not understood."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0.0, when - (clock or SystemClock()).now())


def pause(seconds: float, should_stop: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait, but no longer than until `should_stop` says so."""
    left = seconds
    while left > 0 and not should_stop():
        sleep(min(left, SLICE_SECONDS))
        left -= SLICE_SECONDS


def open_pool(url: str, *, strictly: bool = False) -> urllib3.PoolManager:
    """Connections for a URL, through the environment's proxy, trusting the system's roots and certifi's.

    `strictly` are those that never lead elsewhere: of a plain address they need no roots, which take time to load.
    """
    context = None
    if not strictly or scheme_of(url) == "https":
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    proxy = _proxy_for(url)
    if proxy is None:
        return urllib3.PoolManager(ssl_context=context)
    return urllib3.ProxyManager(proxy, ssl_context=context)


def send(
    pool: urllib3.PoolManager,
    method: str,
    url: str,
    headers: dict[str, str],
    timeout: urllib3.Timeout,
    new_body: Callable[[], Any] | None = None,
) -> urllib3.BaseHTTPResponse:
    """One request, following redirects with the same method; the body of the response is not yet read.

    `new_body` gives a fresh body for each hop. A user in the URL is sent as basic authorisation, to that host only.
    Raises urllib3.exceptions.HTTPError where there is no response.
    """
    for _ in range(MOST_HOPS):
        response = pool.request(
            method,
            _without_user(url),
            body=None if new_body is None else new_body(),
            headers={**headers, **_authorization(url)},
            timeout=timeout,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
        )
        target = response.headers.get("Location")
        if response.status not in REDIRECTS or target is None:
            return response
        let_go(response)
        url = urljoin(url, target)
    return response  # pyright: ignore[reportPossiblyUnboundVariable] - MOST_HOPS > 0


def let_go(response: urllib3.BaseHTTPResponse) -> None:
    """Be done with a response whatever is left of it."""
    response.close()
    response.release_conn()


def cause_of(error: Exception) -> str:
    """A few words about a failed exchange, without the URL that urllib3 puts into its texts."""
    match error:
        case urllib3.exceptions.LocationValueError():
            return "the address is malformed"
        case urllib3.exceptions.NameResolutionError():
            return "the host name cannot be resolved"
        case urllib3.exceptions.NewConnectionError():
            return "the connection was refused or the host cannot be reached"
        case urllib3.exceptions.ConnectTimeoutError():
            return "the host does not answer"
        case urllib3.exceptions.TimeoutError():
            return "nothing came for too long"
        case urllib3.exceptions.SSLError():
            return f"the TLS connection failed ({error})"
        case urllib3.exceptions.ProxyError():
            return "the proxy failed"
        case _:
            return "the connection was lost"


def hopeless(error: Exception) -> bool:
    """No number of tries mends a certificate or an address."""
    certificate = isinstance(error, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
    return certificate or isinstance(error, urllib3.exceptions.LocationValueError)


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _authorization(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    user, password = unquote(parts.username), unquote(parts.password or "")
    return urllib3.make_headers(basic_auth=f"{user}:{password}")
