"""Interactive calls and files of the Gemini wire with whatever release of its official client is first on the path.

Usage: genai_flow.py URL KEY MODEL    prints one JSON object of what it saw. Runs on its own, without the package.
"""

import asyncio
import io
import json
import os
import sys
from typing import Any

from google import genai
from google.genai import errors, types

URL, KEY, MODEL = sys.argv[1:4]
SAY = "one two three"


def talk(client: Any) -> dict[str, Any]:
    answer = client.models.generate_content(
        model=MODEL, contents=SAY, config=types.GenerateContentConfig(system_instruction="be terse", temperature=0.1)
    )
    pieces = [piece.text for piece in client.models.generate_content_stream(model=MODEL, contents=SAY)]
    return {
        "text": answer.text,
        "finish": answer.candidates[0].finish_reason.name,
        "tokens": answer.usage_metadata.total_token_count,
        "streamed": "".join(text or "" for text in pieces),
        "pieces": len(pieces),
        "counted": client.models.count_tokens(model=MODEL, contents=SAY).total_tokens,
        "vectors": [e.values for e in client.models.embed_content(model=MODEL, contents=["a", "abc"]).embeddings],
        "models": [model.name for model in client.models.list(config={"page_size": 1})],
        "model": client.models.get(model=MODEL).name,
        "refusal": refusal(client),
        "files": files(client),
    }


def files(client: Any) -> dict[str, Any]:
    """Send a file that takes two calls and a small one, look at them, read them back, and delete them."""
    large = os.urandom((8 << 20) + 1)
    config = {"mime_type": "jsonl", "display_name": "Large", "name": "large"}
    sent = client.files.upload(file=io.BytesIO(large), config=config)
    small = client.files.upload(file=io.BytesIO(b"{}"), config={"mime_type": "jsonl"})
    listed = [file.name for file in client.files.list(config={"page_size": 1})]
    seen = {
        "name": sent.name,
        "shown": [sent.display_name, sent.mime_type, sent.size_bytes, sent.state.name],
        "got": client.files.get(name=sent.name) == sent,
        "same": client.files.download(file=sent.name) == large,
        "listed": sorted(listed) == sorted([sent.name, small.name]),
    }
    for file in (sent, small):
        client.files.delete(name=file.name)
    return seen | {"gone": file_refusal(client, sent.name)}


def file_refusal(client: Any, name: str) -> list[Any]:
    try:
        client.files.get(name=name)
    except errors.ClientError as error:
        return [error.code, error.status]
    return []


def refusal(client: Any) -> list[Any]:
    try:
        client.models.generate_content(model="none", contents=SAY)
    except errors.ClientError as error:
        return [error.code, error.status]
    return []


async def in_async(client: Any) -> dict[str, Any]:
    answer = await client.aio.models.generate_content(model=MODEL, contents=SAY)
    stream = await client.aio.models.generate_content_stream(model=MODEL, contents=SAY)
    sent = await client.aio.files.upload(file=io.BytesIO(b"{}"), config={"mime_type": "jsonl"})
    read = await client.aio.files.download(file=sent.name)
    await client.aio.files.delete(name=sent.name)
    return {
        "text": answer.text,
        "streamed": "".join([piece.text or "" async for piece in stream]),
        "read": read.decode(),
    }


def main() -> None:
    client = genai.Client(api_key=KEY, http_options={"base_url": URL})  # pyright: ignore[reportArgumentType]
    seen = {"version": genai.__version__, "sync": talk(client), "async": asyncio.run(in_async(client))}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
