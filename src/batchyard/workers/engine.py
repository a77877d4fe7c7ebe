"""An engine whose work is done in a worker process, which is started again when it dies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from batchyard.domain.errors import Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Abilities, Say
from batchyard.workers.openai import error_answer
from batchyard.workers.worker import Crashed, Worker

START_ATTEMPTS = 3
"""After so many starts in a row that failed, the engine counts as down."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0


class WorkerEngine:
    """Implements `Engine` with a worker process.

    `module` runs in the worker (`batchyard.workers.llamacpp`), `config` is what it loads, as bytes that it understands.
    `check` runs before each first start and raises BatchyardError where the start would be in vain. `restarts` counts
    the workers that replaced a dead one.

    There is no task of ours beside the callers': whoever finds the worker dead starts the next one, and all others who
    come meanwhile wait for it.
    """

    def __init__(
        self,
        module: str,
        config: bytes,
        *,
        environment: Mapping[str, str] | None = None,
        check: Callable[[], None] = lambda: None,
        remedy: str = "",
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._module = module
        self._config = config
        self._environment = environment or {}
        self._check = check
        self._remedy = remedy
        self._pause = pause
        self._worker: Worker | None = None
        self._loading: Worker | None = None
        self._starting: asyncio.Future[Worker | None] | None = None
        self._fruitless = 0
        self._closed = False
        self.restarts = 0

    async def start(self) -> Abilities:
        """Load the model. Raises NotFound or Unavailable, with a remedy."""
        self._closed = False
        self._check()
        return (await self._living_worker()).abilities

    async def infer(self, request: Request) -> Reply:
        try:
            worker = await self._living_worker()
        except Unavailable as error:
            return Failure("engine_down", str(error), Fault.DOWN)
        return _misdirected(request, worker.abilities) or await worker.answer(request)

    async def stream(self, request: Request, say: Say) -> Reply:
        try:
            worker = await self._living_worker()
        except Unavailable as error:
            return Failure("engine_down", str(error), Fault.DOWN)
        return _misdirected(request, worker.abilities) or await worker.stream(request, say)

    async def close(self) -> None:
        self._closed = True
        for worker in (self._worker, self._loading):
            if worker is not None:
                await worker.close()

    @property
    def pid(self) -> int | None:
        """The living worker's process."""
        return None if self._worker is None or self._worker.gone else self._worker.pid

    async def _living_worker(self) -> Worker:
        while True:
            if self._closed:
                raise Unavailable("The engine is closed.")
            if self._worker is not None and not self._worker.gone:
                return self._worker
            if self._starting is None:
                return await self._lead_the_start()
            worker = await asyncio.shield(self._starting)
            if worker is not None:
                return worker

    async def _lead_the_start(self) -> Worker:
        """Start a worker for everybody who waits for one. They hear None where this caller gave up meanwhile."""
        starting = self._starting = asyncio.get_running_loop().create_future()
        try:
            worker = await self._start_worker()
        except Unavailable as error:
            starting.set_exception(error)
            starting.exception()  # perhaps nobody waits
            raise
        except BaseException:
            starting.set_result(None)
            raise
        else:
            starting.set_result(worker)
            return worker
        finally:
            self._starting = None

    async def _start_worker(self) -> Worker:
        before = self._worker
        if before is not None:
            self._fruitless = 0 if before.answered else self._fruitless + 1
        for attempt in range(1, START_ATTEMPTS + 1):
            await self._pause_before_start()
            try:
                self._worker = await self._load_worker()
            except Crashed as crash:
                self._fruitless += 1
                if attempt == START_ATTEMPTS or self._closed:
                    raise Unavailable(f"The engine cannot start: {crash}", remedy=self._remedy) from crash
            else:
                self.restarts += before is not None
                return self._worker
        raise AssertionError("the loop returns or raises")

    async def _pause_before_start(self) -> None:
        if self._fruitless:
            await self._pause(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 4 ** (self._fruitless - 1)))
        if self._closed:
            raise Unavailable("The engine is closed.")

    async def _load_worker(self) -> Worker:
        self._loading = worker = Worker()
        try:
            await worker.load(self._module, self._config, self._environment)
        finally:
            self._loading = None
        return worker


def _misdirected(request: Request, abilities: Abilities) -> Answer | None:
    """The answer to a request that this model cannot take at all."""
    if abilities.models is not None and request.model not in abilities.models:
        return error_answer(404, f"The model `{request.model}` does not exist.", param="model", code="model_not_found")
    if request.endpoint not in abilities.endpoints:
        known = ", ".join(sorted(abilities.endpoints))
        return error_answer(
            400, f"This model does not answer {request.endpoint}; it answers {known}.", code="unsupported_endpoint"
        )
    return None
