"""Reading what a server says of a batch while it runs: portions of results, and events."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from openai import AsyncOpenAI

from tests.support.serving import Live

Portions = tuple[bytes, dict[str, str]]


async def portion(client: AsyncOpenAI, id: str, after: str | None = None, **query: Any) -> Portions:
    """One portion of results: its bytes, and what its headers say, without `x-batchyard-`."""
    query |= {} if after is None else {"after": after}
    answer = await client.get(f"/batches/{id}/results", cast_to=httpx2.Response, options={"params": query})
    assert answer.headers["content-type"] == "application/jsonl"
    said = {name.removeprefix("x-batchyard-"): word for name, word in answer.headers.items()}
    assert int(said["lines"]) == answer.content.count(b"\n")
    assert not answer.content or answer.content.endswith(b"\n")
    return answer.content, said


async def rest(client: AsyncOpenAI, id: str, after: str | None = None, **query: Any) -> Portions:
    """All that can be had now, portion after portion."""
    data, more = b"", "true"
    said: dict[str, str] = {}
    while more == "true":
        content, said = await portion(client, id, after, **query)
        data, after, more = data + content, said["watermark"], said["more"]
    return data, said


class Stream:
    """Events as they come: (number or None, name, data). Comments are counted."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.comments = 0
        self._lines = answer.aiter_lines()

    def __aiter__(self) -> AsyncIterator[tuple[int | None, str, dict[str, Any]]]:
        return self._events()

    async def until(self, *names: str) -> list[tuple[int | None, str, dict[str, Any]]]:
        """What comes, up to the first event of one of these names."""
        seen: list[tuple[int | None, str, dict[str, Any]]] = []
        async for event in self:
            seen.append(event)
            if event[1] in names:
                return seen
        raise AssertionError(f"the stream ended after {[name for _, name, _ in seen]}")

    async def _events(self) -> AsyncGenerator[tuple[int | None, str, dict[str, Any]], None]:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, word = line.partition(": ")
                fields[name] = word
            elif fields:
                number = int(fields["id"]) if "id" in fields else None
                yield number, fields["event"], json.loads(fields["data"])
                fields = {}


@asynccontextmanager
async def events(server: Live, path: str, after: int | None = None, key: str | None = None) -> AsyncGenerator[Stream]:
    """Listen until the block ends."""
    headers = {"authorization": f"Bearer {key or server.secret}"}
    if after is not None:
        headers["last-event-id"] = str(after)
    async with (
        httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=30) as client,
        client.stream("GET", path) as answer,
    ):
        yield Stream(answer)
