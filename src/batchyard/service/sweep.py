"""Give back the room of what is gone: deleted and expired files, what came of uploads that ended otherwise, old news.

Deleting is quick because the bytes go later, here; a crash between the two leaves nothing but work for the next round.
"""

from batchyard.blob import Blobs
from batchyard.clock import Clock
from batchyard.store import Store

_AT_ONCE = 100
_FOLDERS = ("files", "parts")
KEPT_SECONDS = 7 * 86_400
"""How long events, and deliveries that have ended, can still be read."""


class Sweep:
    """A duty: `run_once` every few seconds, `orphans` before anyone may write."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def run_once(self) -> int:
        """Let what is past its end expire, and remove bytes that nothing needs; how many blobs went."""
        at = int(self._clock.now())
        await self._store.files.expire(at)
        await self._store.uploads.expire(at)
        await self._store.resumables.expire(at)
        await self._store.events.forget(at - KEPT_SECONDS)
        await self._store.webhooks.forget(at - KEPT_SECONDS)
        return await self._dead_blobs() + await self._dead_parts() + await self._dead_resumables()

    async def orphans(self) -> int:
        """Remove bytes that a crash left without a file or part; how many blobs went.

        Bytes are stored before they are named, so this must not run while anything is being received.
        """
        removed = 0
        for folder in _FOLDERS:
            for blob in await self._store.files.unknown_blobs(await self._blobs.keys(folder)):
                await self._blobs.delete(blob)
                removed += 1
        return removed

    async def _dead_blobs(self) -> int:
        removed = 0
        while blobs := await self._store.files.dead_blobs(_AT_ONCE):
            for blob in blobs:
                await self._blobs.delete(blob)
            await self._store.files.forget_blobs(blobs)
            removed += len(blobs)
        return removed

    async def _dead_parts(self) -> int:
        removed = 0
        while parts := await self._store.uploads.dead_parts(_AT_ONCE):
            for part in parts:
                await self._blobs.delete(part.blob)
            await self._store.uploads.forget_parts([part.id for part in parts])
            removed += len(parts)
        return removed

    async def _dead_resumables(self) -> int:
        removed = 0
        while dead := await self._store.resumables.dead(_AT_ONCE):
            for resumable in dead:
                await self._blobs.delete(resumable.blob)
            await self._store.resumables.forget([resumable.id for resumable in dead])
            removed += len(dead)
        return removed
