"""The least that a server in Python does with a body: uvicorn and Starlette hand it on, and it is written and synced.

python bench/peers/keep_body.py FOLDER

No form, no hash, no look at what it is. Says `Listening on PORT`.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def keep(request: Request) -> Response:
    file = os.open(Path(sys.argv[1], "body"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    size = 0
    async for chunk in request.stream():
        size += await asyncio.to_thread(os.write, file, chunk)
    await asyncio.to_thread(os.fsync, file)
    os.close(file)
    return Response(str(size))


def main() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    print(f"Listening on {sock.getsockname()[1]}", flush=True)
    app = Starlette(routes=[Route("/", keep, methods=["PUT"])])
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([sock])


main()
