"""A program that is kept alive: started, watched, started again with growing pauses, stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from batchyard.transport.life import CannotStart, Launch, Life, Patience


class Program:
    """Keeps a program alive.

    `launch` is asked anew for each life, so that each may have its own port and key. `greet` meets each life once it is
    healthy and before anybody else does; it may raise CannotStart.
    """

    def __init__(
        self,
        launch: Callable[[], Launch],
        log: Path,
        patience: Patience | None = None,
        greet: Callable[[Life], Awaitable[None]] | None = None,
    ) -> None:
        self.restarts = 0
        self._launch = launch
        self._log = log
        self._patience = patience or Patience()
        self._greet = greet
        self._tasks = asyncio.TaskGroup()
        self._keeper: asyncio.Task[None] | None = None
        self._life: Life | None = None
        self._attempt: asyncio.Future[Life | CannotStart] | None = None

    async def start(self) -> Life:
        """Start it for the first time. Raises CannotStart where that fails: then it is not tried again."""
        life = await self._live()
        await self._tasks.__aenter__()
        self._new_attempt().set_result(life)
        self._keeper = self._tasks.create_task(self._keep(life))
        return life

    async def ready(self, patience_seconds: float) -> Life:
        """The living program; waits while it is being started again.

        Raises CannotStart where the last start failed and the next has not yet begun, and where waiting took too long.
        """
        assert self._attempt is not None
        try:
            async with asyncio.timeout(patience_seconds):
                outcome = await asyncio.shield(self._attempt)
        except TimeoutError:
            raise CannotStart("It is still being started again.", (), self._log) from None
        if isinstance(outcome, CannotStart):
            raise outcome
        return outcome

    async def stop(self) -> None:
        """End it and watch it no longer. May be called twice."""
        if self._keeper is not None and not self._keeper.done():
            self._keeper.cancel()
            await self._tasks.__aexit__(None, None, None)
        if self._life is not None:
            await self._life.stop()

    async def _keep(self, life: Life) -> None:
        """Start it again whenever it has ended."""
        early_deaths = 0
        while True:
            born = asyncio.get_running_loop().time()
            await life.ended.wait()
            lived = asyncio.get_running_loop().time() - born
            early_deaths = early_deaths + 1 if lived < self._patience.settled_seconds else 0
            life = await self._live_again(max(0, early_deaths - 1))

    async def _live_again(self, failures: int) -> Life:
        """A new life, however many attempts it takes."""
        while True:
            await asyncio.sleep(self._backoff(failures))
            attempt = self._attempt if self._attempt and not self._attempt.done() else self._new_attempt()
            self.restarts += 1
            try:
                life = await self._live()
            except CannotStart as trouble:
                attempt.set_result(trouble)
                failures += 1
                continue
            attempt.set_result(life)
            return life

    def _backoff(self, failures: int) -> float:
        if failures == 0:
            return 0.0
        return min(
            self._patience.backoff_ceiling_seconds, self._patience.backoff_seconds * 2.0 ** min(failures - 1, 20)
        )

    async def _live(self) -> Life:
        """One life, healthy. Raises CannotStart; nothing of a life that failed is left."""
        life = Life(self._launch(), self._log, self._patience, self._life_ended)
        try:
            await life.begin()
            await life.become_healthy()
            if self._greet is not None:
                await self._greet(life)
        except OSError as error:
            await life.stop(now=True)
            raise CannotStart(f"{life.launch.title} cannot be started: {error}.") from error
        except BaseException:
            await life.stop(now=True)
            raise
        self._life = life
        return life

    def _life_ended(self) -> None:
        """Whoever asks from now on waits for the next life."""
        if self._attempt is not None and self._attempt.done() and isinstance(self._attempt.result(), Life):
            self._new_attempt()

    def _new_attempt(self) -> asyncio.Future[Life | CannotStart]:
        self._attempt = asyncio.get_running_loop().create_future()
        return self._attempt
