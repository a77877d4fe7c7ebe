"""One upstream: its paths, its heads, and how it has been doing lately."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from batchyard.transport.http1 import Address, Client, Flow, Received, request_head

T = TypeVar("T")

REST_SECONDS = 0.25
REST_CEILING_SECONDS = 30.0
_VERSION = re.compile(r"v\d+(alpha|beta)?\d*")
_ENDPOINT_TAIL = re.compile(
    r"/(chat/completions|completions|embeddings|responses|score|rerank|images/generations|models)$"
)


class Upstream:
    """Where requests can go. `rests_until` is in the event loop's time; `asked` numbers the requests it was given."""

    def __init__(self, address: Address, client: Client, headers: Mapping[str, str]) -> None:
        self.client = client
        self.origin = address.origin
        self.inflight = 0
        self.asked = 0
        self.failures = 0
        self.rests_until = 0.0
        self._address = address
        self._prefix, self._versioned = _base(address)
        self._headers = headers
        self._heads: dict[str, bytes] = {}
        self._head("POST", "/v1/chat/completions")  # a header that cannot be sent is found now, not by a request

    async def post(self, endpoint: str, body: bytes) -> Received:
        head = self._heads.get(endpoint) or self._remembered(endpoint)
        self.inflight += 1
        self.asked += 1
        try:
            return await self.client.exchange(head, body)
        finally:
            self.inflight -= 1

    async def post_for_flow(self, endpoint: str, body: bytes, read: Callable[[Flow], Awaitable[T]]) -> T:
        """Ask, and let the answer be read while it comes. It is given up where it is not read to its end."""
        head = self._head("POST", endpoint, {**self._headers, "accept": "text/event-stream"})
        self.inflight += 1
        self.asked += 1
        try:
            async with self.client.flow(head, body) as flow:
                return await read(flow)
        finally:
            self.inflight -= 1

    async def get(self, path: str) -> Received:
        return await self.client.exchange(self._head("GET", path))

    def failed(self, now: float) -> None:
        """It took no connection: rest, longer each time. Requests that failed together count once."""
        if now < self.rests_until:
            return
        self.rests_until = now + min(REST_CEILING_SECONDS, REST_SECONDS * 2**self.failures)
        self.failures = min(self.failures + 1, 16)

    def wake(self) -> None:
        self.failures = 0
        self.rests_until = 0.0

    def _remembered(self, endpoint: str) -> bytes:
        head = self._heads[endpoint] = self._head("POST", endpoint)
        return head

    def _head(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        if not self._versioned:
            path = path.removeprefix("/v1")
        target = f"{self._prefix}{path}"
        if self._address.query:
            target = f"{target}?{self._address.query}"
        return request_head(method, target, self._address.authority, headers or self._headers)


def _base(address: Address) -> tuple[str, bool]:
    """The path that endpoints are appended to, and whether they keep their own `/v1`.

    They lose it where the base says the version itself (`/v1`, `/api/v3`, `/v1beta/openai`, Azure's deployments). A
    URL that already names an endpoint is taken for its base.
    """
    path = _ENDPOINT_TAIL.sub("", address.path)
    own_version = "/deployments/" in path or any(_VERSION.fullmatch(part) for part in path.split("/")[-2:])
    return path, not own_version
