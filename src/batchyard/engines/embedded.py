"""The embedded engine: OpenVINO for what it is quick at, llama.cpp for what only that can.

Both load the same file. The second one is started when the first request comes that the first one refuses.
"""

import asyncio
import logging

import msgspec
from msgspec import Struct

from batchyard.domain.errors import Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from batchyard.engine import Abilities, Engine, Say, stream
from batchyard.engines import llamacpp, openvino

REFUSALS = frozenset({"unsupported_parameter", "tools_unsupported", "images_unsupported", "unsupported_endpoint"})
"""What the quick engine says of a request that the wide one may be able to answer."""

_log = logging.getLogger(__name__)


class Config(Struct, frozen=True, kw_only=True):
    quick: openvino.Config
    wide: llamacpp.Config


def open(config: Config) -> Engine:
    return EmbeddedEngine(openvino.open(config.quick), llamacpp.open(config.wide))


class EmbeddedEngine:
    """A quick engine, and a wide one behind it."""

    def __init__(self, quick: Engine, wide: Engine) -> None:
        self._quick = quick
        self._wide = wide
        self._wide_only = False
        self._wide_abilities: Abilities | None = None
        self._starting = asyncio.Lock()

    @property
    def restarts(self) -> int:
        return self._quick.restarts + self._wide.restarts

    async def start(self) -> Abilities:
        """Where the quick engine cannot load the model after all, the wide one takes its place."""
        try:
            return await self._quick.start()
        except Unavailable as error:
            _log.warning("OpenVINO could not load the model, llama.cpp takes it: %s", error.message)
            self._wide_only = True
            return await self._start_wide()

    async def infer(self, request: Request) -> Reply:
        if not self._wide_only:
            reply = await self._quick.infer(request)
            if not _is_refused(reply):
                return reply
            await self._start_wide()
        return await self._wide.infer(request)

    async def stream(self, request: Request, say: Say) -> Reply:
        if not self._wide_only:
            reply = await stream(self._quick, request, say)
            if not _is_refused(reply):
                return reply
            await self._start_wide()
        return await stream(self._wide, request, say)

    async def close(self) -> None:
        await self._quick.close()
        await self._wide.close()

    async def _start_wide(self) -> Abilities:
        async with self._starting:
            if self._wide_abilities is None:
                self._wide_abilities = await self._wide.start()
            return self._wide_abilities


class _Error(Struct):
    code: str | None = None


class _Envelope(Struct):
    error: _Error


def _is_refused(reply: Reply) -> bool:
    if not isinstance(reply, Answer) or reply.status != 400:
        return False
    try:
        return msgspec.json.decode(reply.body, type=_Envelope).error.code in REFUSALS
    except msgspec.DecodeError:
        return False
