"""A real HTTP server on loopback that answers as a script says, one step per request."""

import http.server
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Seen:
    """One request as the server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Exchange(http.server.BaseHTTPRequestHandler):
    """What a script step works with: `seen`, `reply(...)`, and the raw handler for what is not regular."""

    protocol_version = "HTTP/1.1"
    seen: Seen

    def reply(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> None:
        """Send an answer; `length` lies about the body. Header names are written with `_` for `-`."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection when this step returns."""
        self.close_connection = True

    def do_GET(self) -> None:
        self._run_step(b"")

    def do_PUT(self) -> None:
        self._run_step(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    do_POST = do_PUT

    def log_message(self, format: str, *args: object) -> None:
        return None

    def _run_step(self, body: bytes) -> None:
        self.seen = Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        script = cast("_Server", self.server).script
        script.seen.append(self.seen)
        script.next_step()(self)


Step = Callable[[Exchange], None]


@dataclass
class Script:
    """Steps in order; the last one answers all further requests. `seen` is what came."""

    steps: list[Step]
    seen: list[Seen] = field(default_factory=list[Seen])
    url: str = ""

    def next_step(self) -> Step:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    script: Script

    def handle_error(self, request: object, client_address: object) -> None:
        return None  # a client that goes away is part of many scripts


@contextmanager
def serving(*steps: Step) -> Generator[Script]:
    """Serve the script; its `url` ends with a slash."""
    server = _Server(("127.0.0.1", 0), Exchange)
    server.script = Script(list(steps), url=f"http://127.0.0.1:{server.server_address[1]}/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answers(status: int, body: bytes = b"", **headers: str) -> Step:
    """A step with one plain answer."""
    return lambda exchange: exchange.reply(status, body, headers)


def breaks_off(body: bytes, after: int, **headers: str) -> Step:
    """A step that announces the whole body and closes after a part of it."""

    def step(exchange: Exchange) -> None:
        exchange.reply(200, body[:after], headers, len(body))
        exchange.drop()

    return step


def serves_ranges(body: bytes, etag: str, part: int | None = None) -> Step:
    """A step that honours Range and If-Range, and breaks off after `part` bytes of each answer."""

    def step(exchange: Exchange) -> None:
        wanted = exchange.seen.headers.get("range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        if exchange.seen.headers.get("if-range", etag) != etag:
            start = 0
        rest = body[start:]
        headers = {"ETag": etag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        exchange.reply(206 if start else 200, rest[:part], headers, len(rest))
        if part is not None and part < len(rest):
            exchange.drop()

    return step


def redirects_to(url: str, status: int = 307) -> Step:
    return lambda exchange: exchange.reply(status, headers={"Location": url})
