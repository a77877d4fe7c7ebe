"""The documented batch flow with whatever release of the official client is first on the path.

Usage: flow.py URL KEY MODEL    prints one JSON object of what it saw. Runs on its own, without the package.
"""

import asyncio
import json
import sys
import time
from typing import Any

import openai

URL, KEY, MODEL = sys.argv[1:4]
OPTIONS: dict[str, Any] = {"api_key": KEY, "max_retries": 0, "_strict_response_validation": True}
CHAT = "/v1/chat/completions"
LINES = 5


def a_file(endpoint: str = CHAT) -> bytes:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": endpoint, "body": body} for n in range(LINES)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def batch(client: Any, endpoint: str = CHAT, line_url: str = CHAT) -> dict[str, Any]:
    content = a_file(line_url)
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    assert client.files.content(file.id).read() == content
    made = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"a": "b"})
    while client.batches.retrieve(made.id).status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.02)
    ended = client.batches.retrieve(made.id)
    output = client.files.content(ended.output_file_id).text
    listed = [each.id for each in client.batches.list(limit=1)]
    assert made.id in listed and len(set(listed)) == len(listed)
    assert client.files.delete(file.id).deleted
    return {
        "status": ended.status,
        "completed": ended.request_counts.completed,
        "ids": sorted(json.loads(line)["custom_id"] for line in output.splitlines()),
    }


def cancel(client: Any) -> str:
    file = client.files.create(file=("in.jsonl", a_file()), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    try:
        return client.batches.cancel(made.id).status
    except openai.ConflictError:
        return "ended"  # it was quicker


def refusals(client: Any) -> list[str]:
    seen: list[str] = []
    for call in (
        lambda: client.files.retrieve("file-none"),
        lambda: client.batches.retrieve("batch_none"),
        lambda: client.models.retrieve("none"),
    ):
        try:
            call()
        except openai.NotFoundError as error:
            seen.append(f"{error.status_code} {bool(error.request_id)}")
    return seen


def parts(client: Any) -> int:
    upload = client.uploads.create(bytes=8, filename="in.jsonl", mime_type="application/jsonl", purpose="batch")
    ids = [client.uploads.parts.create(upload.id, data=piece).id for piece in (b'{"a"', b": 1}")]
    return client.uploads.complete(upload.id, part_ids=ids).file.bytes


async def in_async() -> dict[str, Any]:
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", **OPTIONS)
    async with client:
        file = await client.files.create(file=("in.jsonl", a_file()), purpose="batch")
        made = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        while (ended := await client.batches.retrieve(made.id)).status != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # as people's scripts do
        answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
        words = [
            each.choices[0].delta.content or ""
            async for each in await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
            )
            if each.choices
        ]
        same = "".join(words) == answer.choices[0].message.content
        return {"status": ended.status, "streamed": same}


def main() -> None:
    client = openai.OpenAI(base_url=f"{URL}/v1", **OPTIONS)
    classic = openai.AzureOpenAI(azure_endpoint=URL, api_version="2025-04-01-preview", **OPTIONS)
    plain = openai.OpenAI(base_url=f"{URL}/openai/v1/", **OPTIONS)
    seen = {
        "version": openai.__version__,
        "models": [model.id for model in client.models.list()],
        "batch": batch(client),
        "azure": batch(classic, "/chat/completions", "/chat/completions"),
        "azure_v1": batch(plain, CHAT, "/chat/completions"),
        "cancel": cancel(client),
        "refusals": refusals(client),
        "parts": parts(client),
        "async": asyncio.run(in_async()),
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
