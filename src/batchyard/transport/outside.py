"""Requests to URLs that callers of ours chose: they may reach the world outside, never what only we can reach.

A name is resolved once and each of its addresses judged; the connection then goes to one of those addresses, so that a
name that says something else a moment later changes nothing. A POST follows no redirect. Sources: the registries of
special-purpose addresses (RFC 6890), as Python's `ipaddress` has them; RFC 6052 for IPv4 within IPv6.

What is fetched may redirect: then the next URL is judged as the first one was.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

from batchyard.transport.http1 import (
    Address,
    BadAnswer,
    Client,
    ConnectFailed,
    Limits,
    Received,
    request_head,
    tls_context,
)

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, best first. Raises OSError where it has none."""

TIMEOUT_SECONDS = 10.0
MOST_ADDRESSES = 3
"""How many of a host's addresses are tried."""
MOST_LOOKUPS = 64
REDIRECTS = 3
_LIMITS = Limits(answer_bytes=1 << 20)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_NAME = 253
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_name = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.(?!\d+$){_LABEL}").fullmatch
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_ALSO_INSIDE = tuple(
    ipaddress.ip_network(text)
    for text in ("168.63.129.16/32", "192.0.0.0/24", "64:ff9b:1::/48", "5f00::/16", "fec0::/10")
)
"""What `ipaddress` calls global, or did in some release: Azure's metadata service and registries' later entries."""


class NotOutside(Exception):
    """We do not go to this URL; the message says why."""


class Unresolved(NotOutside):
    """Nobody knows, at this moment, where the URL's host is, which has a name as hosts in the public DNS have one."""


class Outside:
    """See the module. `allowed` are hosts, addresses and networks to which requests may go wherever they are.

    Where there are `only` hosts, requests go to no others.
    """

    def __init__(
        self,
        allowed: Sequence[str] = (),
        *,
        only: Sequence[str] = (),
        resolve: Resolve | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Raises ValueError for an entry of `allowed` that is neither."""
        self._networks, self._hosts = _sorted(allowed)
        self._only = frozenset(host.lower().rstrip(".") for host in only)
        self._resolve = resolve or _Lookups().resolve
        self._timeout_seconds = timeout_seconds
        self._tls = tls

    async def check(self, url: str) -> None:
        """Raise NotOutside where we would not go there now."""
        address = _parse(url)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._addresses(address)
        except TimeoutError:
            kind = Unresolved if _may_be_a_name(address.host.lower()) else NotOutside
            raise kind(f"The host {address.host} cannot be resolved.") from None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send a request and return its answer's status. Raises NotOutside, HttpError, and TimeoutError."""
        address = _parse(url)
        head = request_head("POST", _target(url, address), address.authority, headers)
        async with asyncio.timeout(self._timeout_seconds):
            return (await self._exchange(address, head, body, _LIMITS)).status

    async def get(self, url: str, headers: Mapping[str, str], *, most_bytes: int) -> Received:
        """Fetch what a URL leads to, after a few redirects. Raises NotOutside, HttpError, and TimeoutError.

        An answer of more than `most_bytes` raises TooLarge as soon as that is known.
        """
        limits = Limits(answer_bytes=most_bytes)
        async with asyncio.timeout(self._timeout_seconds):
            for _ in range(REDIRECTS + 1):
                address = _parse(url)
                head = request_head("GET", _target(url, address), address.authority, headers)
                received = await self._exchange(address, head, None, limits)
                if received.status not in _REDIRECTS or not received.header(b"location"):
                    return received
                url = _joined(url, received.header(b"location"))
        raise BadAnswer(f"There are more than {REDIRECTS} redirects.")

    async def _exchange(self, address: Address, head: bytes, body: bytes | None, limits: Limits) -> Received:
        """One request and its whole answer, at the first of the host's addresses that takes a connection."""
        found = await self._addresses(address)
        for place, each in enumerate(found, 1):
            try:
                return await self._exchange_at(each, address, self._timeout_seconds / len(found), head, body, limits)
            except ConnectFailed:
                if place == len(found):
                    raise
        raise AssertionError("a host without addresses is refused")

    async def _exchange_at(
        self, peer: str, address: Address, connect_seconds: float, head: bytes, body: bytes | None, limits: Limits
    ) -> Received:
        if address.tls and self._tls is None:
            self._tls = tls_context()
        client = Client(address, tls=self._tls, limits=limits, connect_timeout_seconds=connect_seconds, connect_to=peer)
        try:
            return await client.exchange(head, body)
        finally:
            await client.close()

    async def _addresses(self, address: Address) -> Sequence[str]:
        """Where a host is; every address must be allowed, lest one be slipped in between others."""
        host = address.host.lower().rstrip(".")
        if self._only and host not in self._only:
            raise NotOutside(f"The host {address.host} is not among those that requests may go to.")
        try:
            found = [str(ipaddress.ip_address(address.host))]
        except ValueError:
            try:
                found = await self._resolve(address.host, address.port)
            except (OSError, UnicodeError):
                found = ()
        if not found:
            kind = Unresolved if _may_be_a_name(host) else NotOutside
            raise kind(f"The host {address.host} cannot be resolved.")
        if host not in self._hosts and not all(map(self._may, found)):
            raise NotOutside(f"The host {address.host} is not on the public internet.")
        return found[:MOST_ADDRESSES]

    def _may(self, text: str) -> bool:
        ip = _plain(ipaddress.ip_address(text))
        return is_outside(ip) or _is_in(ip, self._networks)


def is_outside(ip: IP) -> bool:
    """Is an address one that everybody can reach alike?"""
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not _is_in(ip, _ALSO_INSIDE)


def _is_in(ip: IP, networks: Sequence[Network]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)


def _plain(ip: IP) -> IP:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _parse(url: str) -> Address:
    try:
        return Address.parse(url)
    except ValueError as error:
        raise NotOutside(f"We cannot send there: {error}.") from None


def _target(url: str, address: Address) -> str:
    return address.target("/" if urlsplit(url).path.endswith("/") else "")


def _joined(url: str, location: str) -> str:
    """Where a redirect leads; its text may hold a secret, so nothing of it is told."""
    try:
        joined = urljoin(url, location)
        Address.parse(joined)
    except ValueError:
        raise NotOutside("It redirects to what is no http(s) URL, or to one with a password.") from None
    return joined


def _sorted(allowed: Sequence[str]) -> tuple[tuple[Network, ...], frozenset[str]]:
    networks: list[Network] = []
    hosts: set[str] = set()
    for entry in allowed:
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            if not entry or set(entry) & set("/:@ ") or entry.startswith("*"):
                raise ValueError(f"{entry!r} is no host name, address or network") from None
            hosts.add(entry.lower().rstrip("."))
    return tuple(networks), frozenset(hosts)


class _Lookups:
    """The system's resolver, each question in a thread of its own.

    A name server that keeps silent must hold up nobody else: the loop's own threads are few, and shared with engines.
    Threads that still wait do not keep the process from ending.
    """

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(MOST_LOOKUPS)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        if not self._room.acquire(blocking=False):
            raise OSError("too many look-ups wait")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        threading.Thread(target=self._ask, args=(host, port, loop, found), daemon=True, name="look-up").start()
        return await found

    def _ask(
        self, host: str, port: int, loop: asyncio.AbstractEventLoop, found: "asyncio.Future[Sequence[str]]"
    ) -> None:
        answer: Sequence[str] | OSError
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except (OSError, UnicodeError) as error:
            answer = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            self._room.release()
        with suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(_tell, found, answer)


def _tell(found: "asyncio.Future[Sequence[str]]", answer: Sequence[str] | OSError) -> None:
    if found.done():
        return
    if isinstance(answer, OSError):
        found.set_exception(answer)
    else:
        found.set_result(answer)


def _may_be_a_name(host: str) -> bool:
    """Whether a host could be found in the public DNS one day: at least two labels, the last not a number."""
    try:
        plain = host.encode("idna").decode()
    except UnicodeError:
        return False
    return len(plain) <= _MAX_NAME and _name(plain) is not None
