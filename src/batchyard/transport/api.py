"""Calls to a server that speaks OpenAI's wire, ours or anybody's: patient, and plain about what went wrong. Blocking.

A key goes to the address that it was given for and nowhere else: redirects are not followed.
"""

import random
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from batchyard import __version__
from batchyard.transport import web
from batchyard.transport.web import Patience

Object = dict[str, Any]
"""A JSON object as it came, with fields that we know and others."""

FIRST_TRIES: Final = 3
_PAGE: Final = 100
"""Objects of one answer of a list: what every server gives."""
_MOST_SAID: Final = 1 << 16
"""How much of an error answer is read."""


class ApiError(Exception):
    """A call that failed. `status` is None where no answer came; `code` and `request_id` are the server's, if any."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.remedy = remedy

    def __str__(self) -> str:
        facts = [str(self.status or ""), self.code or "", f"request {self.request_id}" if self.request_id else ""]
        about = ", ".join(fact for fact in facts if fact)
        return " ".join(part for part in (self.message, f"({about})" if about else "", self.remedy) if part)

    @property
    def lost(self) -> bool:
        """Whether the server may have done what was asked, though it did not say so."""
        return self.status is None or self.status >= 500


class Api:
    """A server and the key for it. One thread at a time; `close` gives the connections back."""

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        patience: Patience | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = normal(base_url)
        self.patience = patience or Patience()
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._reached = False
        self._pool = web.open_pool(self.base_url, strictly=True)
        self._headers = {"User-Agent": f"batchyard/{__version__}", "Accept-Encoding": "identity", **_bearer(key)}

    @property
    def tries(self) -> int:
        """How often to try; of a server that has never answered it may be that nobody is there at all."""
        return self.patience.tries if self._reached else min(self.patience.tries, FIRST_TRIES)

    def close(self) -> None:
        self._pool.clear()

    def get(self, path: str, **query: object) -> Object:
        """The object at a path."""
        return self.call("GET", path + _query(query))

    def pages(self, path: str, limit: int | None = None, **query: object) -> tuple[list[Object], bool]:
        """Objects of a list, newest first: at most `limit`, None for all; and whether there are more."""
        found: list[Object] = []
        after: str | None = None
        while True:
            wanted = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = self.get(path, limit=wanted, after=after, **query)
            data: list[Object] = page.get("data") or []
            found += data
            more = bool(page.get("has_more")) and bool(data)
            if not more or (limit is not None and len(found) >= limit):
                return found, more
            after = page.get("last_id") or data[-1].get("id")

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        done_before: Callable[[], Object | None] = lambda: None,
    ) -> Object:
        """One JSON call, sent again where that may help.

        `done_before` looks whether a call whose answer was lost has been carried out: what it finds is the answer.
        """
        content = None if body is None else msgspec.json.encode(body)
        sent = dict(headers or {}) | ({} if content is None else {"Content-Type": "application/json"})
        return self.send(method, path, sent, lambda: content, done_before=done_before)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        new_body: Callable[[], bytes | Iterable[bytes] | None],
        *,
        done_before: Callable[[], Object | None] = lambda: None,
    ) -> Object:
        """As `call`, with any body: `new_body` gives a fresh one for each try."""
        failures = 0
        while True:
            try:
                with self.opened(method, path, headers, new_body()) as response:
                    return _object(response)
            except Again as again:
                failures += 1
                if failures >= self.tries:
                    raise again.error from None
                self.wait(failures, again.after_seconds)
                if again.error.lost and (found := done_before()) is not None:
                    return found

    @contextmanager
    def opened(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Generator[urllib3.BaseHTTPResponse]:
        """One try: an answer that says yes, its body not yet read. Raises ApiError; Again where the next may help."""
        try:
            response = self._pool.request(
                method,
                self.url(path),
                body=body,
                headers={**self._headers, **(headers or {})},
                timeout=self.patience.timeout,
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
            self._reached = True
            try:
                if not 200 <= response.status < 300:
                    raise self._refused(response)
                yield response
            finally:
                web.let_go(response)
        except HTTPError as error:
            raise self._lost(error) from error

    def wait(self, failures: int, after_seconds: float | None = None) -> None:
        """Wait after the `failures`-th failure in a row."""
        seconds = self.patience.wait_seconds(failures, after_seconds, self._rng)
        web.pause(seconds, lambda: False, self._sleep)

    def url(self, path: str) -> str:
        """The whole address of a path; a query of the base (Azure's `api-version`) stays."""
        parts, (path, _, query) = urlsplit(self.base_url), path.partition("?")
        both = "&".join(each for each in (parts.query, query) if each)
        return urlunsplit((parts.scheme, parts.netloc, parts.path + path, both, ""))

    def _refused(self, response: urllib3.BaseHTTPResponse) -> "ApiError | Again":
        error = _error(response)
        wish = response.headers.get("x-should-retry", "").lower()
        if wish != "false" and (wish == "true" or web.transient(response.status)):
            return Again(error, web.retry_after_seconds(response.headers.get("Retry-After")))
        return error

    def _lost(self, error: HTTPError) -> "ApiError | Again":
        said = ApiError(
            f"No answer from {web.redacted(self.base_url)}: {web.cause_of(error)}.",
            remedy="Is the server running, and --base-url right?",
        )
        return said if web.hopeless(error) else Again(said, None)


class Again(Exception):
    """A try that failed, where the next may not."""

    def __init__(self, error: ApiError, after_seconds: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_seconds = after_seconds


def path_of(*parts: str) -> str:
    """A path below the base URL; ids in it may be any text."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def normal(base_url: str) -> str:
    """A base URL as calls need it: without a last slash, and with `/v1` where it names a host only.

    Raises ApiError where it is no http(s) address.
    """
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError(
            f"{web.redacted(base_url)} is not the URL of a server.", remedy="Give --base-url http://HOST/v1."
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") or "/v1", parts.query, ""))


def _bearer(key: str | None) -> dict[str, str]:
    """Azure's own name for it too: servers heed the one that they know."""
    return {} if key is None else {"Authorization": f"Bearer {key}", "api-key": key}


def _query(values: Mapping[str, object]) -> str:

    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _object(response: urllib3.BaseHTTPResponse) -> Object:
    try:
        found = msgspec.json.decode(response.read())
    except msgspec.DecodeError:
        found = None
    if isinstance(found, dict):
        return found  # pyright: ignore[reportUnknownVariableType] - keys of JSON objects are strings
    raise ApiError("The server's answer is not a JSON object.", status=response.status, remedy="Is --base-url right?")


def _error(response: urllib3.BaseHTTPResponse) -> ApiError:
    """What a server said when it said no, in whatever shape."""
    said = response.read(_MOST_SAID)
    message, code = _told(said)
    return ApiError(
        message or _plain(said) or "The server gave no reason.",
        status=response.status,
        code=code,
        request_id=response.headers.get("x-request-id") or response.headers.get("apim-request-id"),
        remedy=_remedy(response.status, response.headers.get("Location"), code),
    )


def _told(said: bytes) -> tuple[str, str | None]:
    """The message and code of the wire's envelope; also of what some servers write instead of it."""
    try:
        found: Any = msgspec.json.decode(said)
    except msgspec.DecodeError:
        return "", None
    inner: Any = found.get("error", found) if isinstance(found, dict) else found  # pyright: ignore
    if isinstance(inner, str):
        return inner, None
    if not isinstance(inner, dict):
        return "", None
    message: Any = inner.get("message") or inner.get("detail") or ""  # pyright: ignore
    code: Any = inner.get("code")  # pyright: ignore
    return str(message), str(code) if code else None  # pyright: ignore


def _plain(said: bytes) -> str:
    """The words of a page that some proxy sent."""
    text = " ".join(re.sub(r"<[^>]*>", " ", said.decode("utf-8", "replace")).split())
    return text[:300] if text.isprintable() else ""


def _remedy(status: int, location: str | None, code: str | None) -> str:
    if status in (301, 302, 307, 308):
        return f"It redirects to {web.redacted(location or '?')}: give that as --base-url if you trust it."
    if status == 401:
        return "The key comes from the variable that --api-key-env names, else BATCHYARD_API_KEY, else OPENAI_API_KEY."
    if code == "unknown_url" or status == 405:
        return "Is --base-url right?"
    return ""
