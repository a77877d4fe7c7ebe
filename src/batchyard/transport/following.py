"""A batch followed until it ends: by the server's own events where it has some, otherwise by asking again and again."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import urllib3

from batchyard.transport.api import Again, Api, ApiError, Object, path_of

FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 10.0
CHUNK_BYTES: Final = 1 << 14


def follow(api: Api, id: str, ended: Callable[[Object], bool], pause: Callable[[float], None]) -> Iterator[Object]:
    """The batch as it stands, again and again, until `ended` says so of it. Raises ApiError."""
    batch = api.get(path_of("batches", id))
    yield batch
    if ended(batch):
        return
    for batch in _told(api, id):
        yield batch
        if ended(batch):
            return
    yield from _polled(api, id, ended, pause)


def _told(api: Api, id: str) -> Iterator[Object]:
    """What the server's events say. Ends where it has none, or where they bring nothing new: then polling goes on."""
    number: str | None = None
    failures, before = 0, object()
    while failures < api.tries:
        headers = {"Accept": "text/event-stream"} | ({} if number is None else {"Last-Event-ID": number})
        try:
            with api.opened("GET", path_of("batches", id, "events"), headers) as response:
                if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    return
                for event, batch in _events(response):
                    failures = failures if _moves(batch) == before else 0
                    number, before = event or number, _moves(batch)
                    yield batch
            failures += 1  # it ended as if nothing were wrong: the server stops, say
            api.wait(failures)
        except Again as again:
            failures += 1
            api.wait(failures, again.after_seconds)
        except ApiError:
            return  # no such path: a server without events


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[tuple[str | None, Object]]:
    """The batches in a stream of events, each with its event's number where it has one."""
    number, data = None, list[str]()
    for line in _lines(response):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            number = value
        elif field == "data":
            data.append(value)
        elif not line:
            batch = _batch_in("\n".join(data))
            if batch is not None:
                yield number, batch
            number, data = None, []


def _batch_in(data: str) -> Object | None:
    try:
        found: Any = msgspec.json.decode(data).get("data")
    except (msgspec.DecodeError, AttributeError):
        return None
    return found if isinstance(found, dict) and "status" in found else None  # pyright: ignore


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """Each line as soon as it is there."""
    waiting = b""
    for chunk in iter(lambda: response.read1(CHUNK_BYTES), b""):
        *lines, waiting = (waiting + chunk).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode("utf-8", "replace")


def _polled(api: Api, id: str, ended: Callable[[Object], bool], pause: Callable[[float], None]) -> Iterator[Object]:
    """Ask soon while the batch moves, and ever less often while it does not."""
    seconds, before = FIRST_SECONDS, object()
    while True:
        pause(seconds)
        batch = api.get(path_of("batches", id))
        yield batch
        if ended(batch):
            return
        seconds = FIRST_SECONDS if _moves(batch) != before else min(seconds * 1.5, LONGEST_SECONDS)
        before = _moves(batch)


def _moves(batch: Object) -> object:
    """What changes while a batch runs."""
    return batch.get("status"), batch.get("request_counts")
