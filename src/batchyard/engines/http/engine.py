"""How the http engine starts, chooses an upstream and tells what came back.

It answers through the upstream with the fewest requests in flight. An upstream that takes no connection, or says that
it is full, rests while others serve; when none can be reached, the reply is a Failure with Fault.DOWN.
"""

import asyncio
import logging
import resource
from functools import partial
from typing import Any

from msgspec import Struct

from batchyard.clock import Clock, SystemClock
from batchyard.domain.errors import Invalid, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Abilities, Engine, Say
from batchyard.engines.http.answer import reply_of, request_id_of
from batchyard.engines.http.telling import aloud, is_stream, tell
from batchyard.engines.http.upstream import Upstream
from batchyard.transport.http1 import Address, BadAnswer, Client, ConnectFailed, Flow, HttpError, Limits, tls_context

ENDPOINTS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/score",
        "/v1/rerank",
        "/v1/responses",
        "/v1/images/generations",
    }
)
DESCRIPTORS = 8192
OTHER_DESCRIPTORS = 128
"""Kept for everything that is no connection: the journal above all."""
PROBE_SECONDS = 10.0
PROBE_PAUSE_SECONDS = 0.25

_log = logging.getLogger(__name__)


class Config(Struct, frozen=True, kw_only=True):
    """Where to send requests, and as whom.

    `urls` are base URLs with or without `/v1`; an Azure deployment URL keeps its `?api-version=`. `api_key_name` is
    what messages call the key (the variable it came from). `model` is for the description only: requests name their
    own. The time that one request may take is the dispatcher's to decide. Nothing secret is in the repr.
    """

    urls: tuple[str, ...]
    api_key: str | None = None
    api_key_name: str = "OPENAI_API_KEY"
    model: str | None = None
    headers: dict[str, str] = {}
    organization: str | None = None
    project: str | None = None
    endpoints: frozenset[str] = ENDPOINTS
    connect_timeout_seconds: float = 10.0
    start_timeout_seconds: float = 30.0
    answer_bytes: int = 256 << 20
    ca_file: str | None = None
    verify_tls: bool = True

    def __repr__(self) -> str:
        key = "set" if self.api_key else "none"
        return f"Config(urls={self.urls!r}, model={self.model!r}, headers={sorted(self.headers)!r}, api_key={key})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("urls", self.urls), ("model", self.model), ("api_key", "set" if self.api_key else "none")]


def open(config: Config, *, clock: Clock | None = None) -> Engine:
    """Raises Invalid where a URL or a header cannot be used. Connects to nothing yet."""
    if not config.urls:
        raise Invalid(
            "The http engine needs the URL of an upstream.", remedy="Give one, such as http://localhost:8000."
        )
    try:
        upstreams = [_upstream(url, config) for url in config.urls]
    except ValueError as error:
        raise Invalid(f"The upstream cannot be used: {error}.", remedy="Mend the URL, the key or the header.") from None
    return HttpEngine(config, upstreams, clock or SystemClock())


def _upstream(url: str, config: Config) -> Upstream:
    address = Address.parse(url)
    client = Client(
        address,
        tls=tls_context(ca_file=config.ca_file, verify=config.verify_tls) if address.tls else None,
        limits=Limits(answer_bytes=config.answer_bytes),
        connect_timeout_seconds=config.connect_timeout_seconds,
        most_connections=max(1, (_descriptors() - OTHER_DESCRIPTORS) // len(config.urls)),
    )
    return Upstream(address, client, _headers(config, azure=_is_azure(address)))


def _headers(config: Config, *, azure: bool) -> dict[str, str]:
    headers = {"user-agent": "batchyard", "accept": "application/json", "content-type": "application/json"}
    if config.api_key:
        headers |= {"api-key": config.api_key} if azure else {"authorization": f"Bearer {config.api_key}"}
    if config.organization:
        headers["openai-organization"] = config.organization
    if config.project:
        headers["openai-project"] = config.project
    return headers | {name.lower(): value for name, value in config.headers.items()}


def _descriptors() -> int:
    """How many files this process may have open: as many as it is ever allowed to, since connections are files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        return soft
    return wanted


def _is_azure(address: Address) -> bool:
    return address.host.endswith(".azure.com") or "/deployments/" in address.path


class HttpEngine:
    """Opened by `open`. Holds connections and, for each upstream, how it has been doing lately."""

    restarts = 0

    def __init__(self, config: Config, upstreams: list[Upstream], clock: Clock) -> None:
        self._config = config
        self._upstreams = upstreams
        self._clock = clock

    async def start(self) -> Abilities:
        """Look for an upstream that takes connections; wait for one up to `start_timeout_seconds`.

        What it answers to `/v1/models` does not matter (many servers have no such thing), except where it refuses us.
        """
        deadline = _now() + self._config.start_timeout_seconds
        while True:
            problems = await self._probe_all()
            if None in problems:
                return self._abilities()
            left = deadline - _now()
            if left <= 0:
                raise Unavailable(
                    "No upstream can be reached. " + " ".join(filter(None, problems)),
                    remedy="Start the server, or mend the URL.",
                )
            await asyncio.sleep(min(left, PROBE_PAUSE_SECONDS))

    async def infer(self, request: Request) -> Reply:
        failure: Failure | None = None
        for upstream in self._in_order():
            try:
                received = await upstream.post(request.endpoint, request.body)
            except HttpError as error:
                failure = _failure_of(error, upstream)
                if failure.fault is not Fault.DOWN:
                    return failure
                continue
            return self._rested(upstream, reply_of(received, self._clock))
        return failure or self._down()

    async def stream(self, request: Request, say: Say) -> Reply:
        """As the contract says; which upstream it is cannot change any more once one has taken the request."""
        body, failure = aloud(request), None
        for upstream in self._in_order():
            try:
                reply = await upstream.post_for_flow(request.endpoint, body, partial(self._read, say))
            except HttpError as error:
                failure = _failure_of(error, upstream)
                if failure.fault is not Fault.DOWN:
                    return failure
                continue
            return self._rested(upstream, reply)
        return failure or self._down()

    async def _read(self, say: Say, flow: Flow) -> Reply:
        if not is_stream(flow):
            return reply_of(await flow.whole(), self._clock)
        return await tell(flow, say, request_id_of(flow.headers))

    async def close(self) -> None:
        for upstream in self._upstreams:
            await upstream.client.close()

    # Which upstream

    def _in_order(self) -> list[Upstream]:
        """Upstreams worth trying now, the least busy first; among equals the one that was not asked last."""
        if len(self._upstreams) == 1:
            return self._upstreams
        now = _now()
        awake = [upstream for upstream in self._upstreams if upstream.rests_until <= now]
        return sorted(awake, key=lambda upstream: (upstream.inflight, upstream.asked))

    def _rested(self, upstream: Upstream, reply: Reply) -> Reply:
        """Note how the upstream did. A full one rests where others can serve: its request may go to them at once."""
        upstream.failures = 0
        if len(self._upstreams) == 1 or not isinstance(reply, Answer) or reply.retry_after_seconds is None:
            return reply
        now = _now()
        upstream.rests_until = now + reply.retry_after_seconds
        if all(other.rests_until > now for other in self._upstreams):
            return reply
        return Answer(reply.status, reply.body, reply.request_id, reply.usage)

    def _down(self) -> Failure:
        pause = max(0.0, min(upstream.rests_until for upstream in self._upstreams) - _now())
        return Failure("engine_unreachable", "No upstream can be reached at the moment.", Fault.DOWN, pause)

    # Starting

    async def _probe_all(self) -> list[str | None]:
        async with asyncio.TaskGroup() as group:
            probes = [group.create_task(self._probe(upstream)) for upstream in self._upstreams]
        outcomes = [probe.result() for probe in probes]
        for outcome in outcomes:
            if isinstance(outcome, Unavailable):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, Unavailable)]

    async def _probe(self, upstream: Upstream) -> str | Unavailable | None:
        """None where the upstream can be used; why not yet; or the error where waiting cannot help."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                received = await upstream.get("/v1/models")
        except ConnectFailed as error:
            upstream.failed(_now())
            return Unavailable(str(error), remedy="Give the server's CA file.") if error.certificate else str(error)
        except (HttpError, TimeoutError) as error:
            _log.warning("upstream %s takes connections but does not answer /v1/models: %s", upstream.origin, error)
            return None
        upstream.wake()
        return self._refused(upstream, received.status) if received.status in (401, 403) else None

    def _refused(self, upstream: Upstream, status: int) -> Unavailable:
        name, held = self._config.api_key_name, "is not accepted" if self._config.api_key else "is not set"
        message = f"{upstream.origin} refuses us (HTTP {status}): the key in {name} {held}."
        return Unavailable(message, remedy=f"Set {name} and run again.")

    def _abilities(self) -> Abilities:
        where = ", ".join(dict.fromkeys(upstream.origin for upstream in self._upstreams))
        what = f", {self._config.model}" if self._config.model else ""
        return Abilities(endpoints=self._config.endpoints, models=None, description=f"{where}{what}")


def _failure_of(error: HttpError, upstream: Upstream) -> Failure:
    """Why there is no answer; Fault.DOWN where the request was never sent, so that another upstream may get it."""
    match error:
        case ConnectFailed(local=True):
            return Failure("too_many_connections", str(error), Fault.OVERLOADED)
        case ConnectFailed():
            upstream.failed(_now())
            return Failure("engine_unreachable", str(error), Fault.DOWN)
        case BadAnswer():
            return Failure("bad_answer", str(error), Fault.LOST)
        case _:
            return Failure("connection_lost", str(error), Fault.LOST)


def _now() -> float:
    return asyncio.get_running_loop().time()
