"""Part of the station *fetch*: a GET that survives a bad line.

What came stays: after a loss the download goes on where it stopped, by Range and If-Range (RFC 9110 sections 13.1.5 and
14), where the server names what it sends by a strong ETag or a date. Otherwise it starts over.
"""

import random
import re
from collections.abc import Callable, Iterator

import urllib3
from msgspec import Struct

from batchyard.domain.errors import BatchyardError, NotFound, Unavailable
from batchyard.pipeline.stop import Stopped
from batchyard.transport import web
from batchyard.transport.web import Patience

CHUNK_BYTES = 1 << 18

_CONTENT_RANGE = re.compile(r"^bytes (\d+)-\d+/(\d+|\*)$")


class StartOver(Exception):
    """What came so far cannot be continued: forget it and take the stream from the start."""


class Refused(Unavailable):
    """The server answered, and no number of tries will change what it said."""


class Version(Struct, frozen=True):
    """What the server says of the file it sends. `total` in bytes; None where it does not say."""

    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a strong tag or a date."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.modified if self.etag is None else None


class Download:
    """One file from one URL. `chunks` may be taken again after StartOver; `version` describes what came."""

    def __init__(
        self,
        url: str,
        *,
        should_stop: Callable[[], bool],
        patience: Patience,
        rng: random.Random,
        known: Version | None = None,
    ) -> None:
        """With `known`, the version of a copy we have: `unchanged` is set, and no chunk comes, if it is still good."""
        self._url = url
        self._should_stop = should_stop
        self._patience = patience
        self._rng = rng
        self._known = known
        self._pool = web.open_pool(url)
        self._failures = 0
        self._restarts = 0
        self.version = Version()
        self.unchanged = False

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the file, from the start. Raises StartOver, Stopped, NotFound, Refused or Unavailable."""
        offset = 0
        while True:
            try:
                for chunk in self._stream(offset):
                    offset += len(chunk)
                    self._failures = 0
                    yield chunk
                self._demand_whole(offset)
                return
            except urllib3.exceptions.HTTPError as error:
                loss = _Loss(web.cause_of(error), final=web.hopeless(error))
            except _Loss as error:
                loss = error
            over = loss.whole or (offset > 0 and self.version.validator is None)
            self._restarts += over
            self._wait_after(loss)
            if over:
                raise StartOver

    def close(self) -> None:
        self._pool.clear()

    def _stream(self, offset: int) -> Iterator[bytes]:
        """One request for what is missing, and its bytes."""
        self._look_out()
        response = self._ask(offset)
        try:
            if response.status == 304 and self._known is not None:
                self.unchanged, self.version = True, Version()
                return
            _demand_good(response)
            self._demand_match(response, offset)
            for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                self._look_out()
                yield chunk
        finally:
            web.let_go(response)

    def _ask(self, offset: int) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity", "Accept": "*/*", "User-Agent": "batchyard"}
        if offset and self.version.validator is not None:
            headers |= {"Range": f"bytes={offset}-", "If-Range": self.version.validator}
        elif self._known is not None and self._known.etag is not None:
            headers["If-None-Match"] = self._known.etag
        elif self._known is not None and self._known.modified is not None:
            headers["If-Modified-Since"] = self._known.modified
        return web.send(self._pool, "GET", self._url, headers, self._patience.timeout)

    def _demand_match(self, response: urllib3.BaseHTTPResponse, offset: int) -> None:
        """The response must be what was asked for: the server may ignore a range, or have a new version by now."""
        if offset:
            part = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            whole = None if part is None or part[2] == "*" else int(part[2])
            if (
                response.status != 206
                or part is None
                or int(part[1]) != offset
                or whole not in (None, self.version.total)
            ):
                raise _Loss("it breaks off and does not resume", whole=True)
            return
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        self.version = Version(response.headers.get("ETag"), response.headers.get("Last-Modified"), total)

    def _demand_whole(self, offset: int) -> None:
        if self.version.total not in (None, offset):
            raise _Loss("it sent another number of bytes than it announced", whole=offset > (self.version.total or 0))

    def _wait_after(self, loss: "_Loss") -> None:
        """New bytes forgive failures, but not starting over: it may break off at the same place for ever."""
        self._failures += 1
        if loss.final or max(self._failures, self._restarts) >= self._patience.tries:
            raise self._error(loss)
        after = web.retry_after_seconds(loss.after)
        web.pause(self._patience.wait_seconds(self._failures, after, self._rng), self._should_stop)
        self._look_out()

    def _look_out(self) -> None:
        if self._should_stop():
            raise Stopped

    def _error(self, loss: "_Loss") -> BatchyardError:
        message = f"The input cannot be fetched from {web.redacted(self._url)}: {loss.cause}."
        match loss.status:
            case 404 | 410:
                return NotFound(message, remedy="Check the address.")
            case 401 | 403:
                return Refused(message, remedy="The address may have expired or need a signature: make a new one.")
            case _ if loss.final:
                return Refused(message, remedy="Check the address.")
            case _:
                return Unavailable(message, remedy="Try again later; nothing has run.")


class _Loss(Exception):
    """One exchange that did not bring what was asked. `whole`: what came before it is of no use either."""

    def __init__(
        self, cause: str, *, final: bool = False, whole: bool = False, status: int = 0, after: str | None = None
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.final = final
        self.whole = whole
        self.status = status
        self.after = after


def _demand_good(response: urllib3.BaseHTTPResponse) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    if status == 416:
        raise _Loss("it breaks off and does not resume", whole=True)
    after = response.headers.get("Retry-After")
    raise _Loss(f"the server answered {status}", final=not web.transient(status), status=status, after=after)
