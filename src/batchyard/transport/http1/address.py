"""Where a request goes and how it begins: URLs and request heads, closed to injection.

Sources: RFC 3986 (URLs), RFC 9110 section 5 (fields), RFC 9112 sections 2 and 3 (request line, Host).
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from msgspec import Struct

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Address(Struct, frozen=True):
    """A URL taken apart. `host` has no brackets and is ASCII; `path` has no trailing slash; `query` has no `?`."""

    tls: bool
    host: str
    port: int
    path: str
    query: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Raises ValueError, with a message fit for the user, for anything but a plain http(s) URL."""
        if _CONTROL.search(url):
            raise ValueError(f"the URL {url!r} holds a space or a control character")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the URL {url!r} is not of the form http://host[:port][/path] or https://...")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL holds a user name or password; give the key by its own setting")
        tls = parts.scheme == "https"
        port = parts.port if parts.port is not None else (443 if tls else 80)
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~").rstrip("/")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=?~")
        return cls(tls, _ascii_host(parts.hostname), port, path, query)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def target(self, path: str) -> str:
        """The request target of a path below this address."""
        full = f"{self.path}{path}" or "/"
        return f"{full}?{self.query}" if self.query else full


def request_head(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request up to where its Content-Length goes. Raises ValueError where a part could break out."""
    if not _TOKEN.fullmatch(method) or _CONTROL.search(target) or _CONTROL.search(host):
        raise ValueError("the request line holds a character that it may not hold")
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}"]
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if _NOT_IN_VALUE.search(value):
            raise ValueError(f"the value of the header {name!r} holds a control character (a newline at its end?)")
        lines.append(f"{name}: {value.strip()}")
    try:
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("a header value holds a character outside Latin-1") from None


def _ascii_host(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"{host!r} is not the name of a host") from None
