"""A plain script that runs a request file: aiohttp, `asyncio.gather` over all lines, results written at the end.

    python bench/peers/gather.py INPUT OUTPUT URL [CONNECTIONS]

No retries, no limits but the connector's, nothing durable before the end.
"""

import asyncio
import json
import sys

import aiohttp
import uvloop


async def main(source: str, output: str, url: str, connections: int) -> None:
    with open(source, encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:

        async def ask(entry):
            async with session.post(url + entry["url"], json=entry["body"]) as response:
                body = await response.json()
                return {"custom_id": entry["custom_id"], "response": {"status_code": response.status, "body": body}}

        results = await asyncio.gather(*(ask(entry) for entry in entries))
    with open(output, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(result) + "\n" for result in results)


uvloop.run(main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 256))
