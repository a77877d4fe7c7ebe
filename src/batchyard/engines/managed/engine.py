"""The managed engine: an inference server that we start ourselves, on loopback, and keep alive.

It waits until the program is healthy and answers through the http engine. When the program dies, what was on board gets
Fault.CRASHED, the program is started again, and requests wait for it a while before they get Fault.DOWN.
"""

import dataclasses
import secrets
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from batchyard.domain.errors import BatchyardError, Invalid, Unavailable
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Abilities, Engine, Say, stream
from batchyard.engines import http
from batchyard.engines.managed.flags import number, parse
from batchyard.engines.managed.programs import RECIPES, Call, Recipe, has_gpu
from batchyard.engines.managed.served import may_see_images, served_models, served_paths
from batchyard.engines.managed.trouble import unavailable
from batchyard.transport.life import CannotStart, Launch, Life, Patience
from batchyard.transport.loopback import free_port
from batchyard.transport.program import Program


class Config(Struct, frozen=True, kw_only=True):
    """Which program serves which model.

    `program` is a name of `RECIPES`; `executable` None finds it. `names` are what input lines call the model. `slots`
    is how many requests it shall work on at once, `context_tokens` how long each may be with its answer; None leaves
    both to us and the program. `flags` are further words of the user's for the program, in the spelling of run-batch.
    `port` None takes a free one at each start; `gpu` None looks for one. Logs go to `log_folder`. A request waits up
    to `ready_wait_seconds` for a restart; a reply that may be a dying program's is held for `doubt_seconds`.
    """

    program: str
    model: str
    log_folder: str
    names: tuple[str, ...] = ()
    slots: int | None = None
    context_tokens: int | None = None
    flags: tuple[str, ...] = ()
    executable: str | None = None
    environment: dict[str, str] = {}
    port: int | None = None
    gpu: bool | None = None
    ready_wait_seconds: float = 30.0
    doubt_seconds: float = 2.0
    patience: Patience = Patience()

    @property
    def words(self) -> tuple[str, ...]:
        """All that the user asks of the program, in the spelling of run-batch."""
        slots = () if self.slots is None else ("--max-num-seqs", str(self.slots))
        context = () if self.context_tokens is None else ("--max-model-len", str(self.context_tokens))
        return (*slots, *context, *self.flags)


def open(config: Config) -> Engine:
    """Raises Invalid where there is no such program. Starts nothing yet."""
    recipe = RECIPES.get(config.program)
    if recipe is None:
        raise Invalid(f"There is no program {config.program!r}.", remedy=f"Take one of: {', '.join(RECIPES)}.")
    return ManagedEngine(config, recipe)


def installed(program: str) -> str | None:
    """The executable that would start a program of `RECIPES`, or None where it is not installed."""
    return RECIPES[program].installed()


def ignored_flags(program: str, flags: Sequence[str]) -> tuple[str, ...]:
    """Those of the user's flags that mean nothing to the program, for one line of warning."""
    return RECIPES[program].ignored(flags)


class ManagedEngine:
    """Opened by `open`. Each life of the program has an http engine of its own."""

    def __init__(self, config: Config, recipe: Recipe) -> None:
        self._config = config
        self._recipe = recipe
        self._names = config.names or (config.model,)
        self._flags = recipe.flags(config.words)
        self._gpu = has_gpu() if config.gpu is None else config.gpu
        self._slots = recipe.slots_for(self._flags, gpu=self._gpu)
        self._context_tokens = number(parse(config.words), "--max-model-len")
        self._executable = config.executable or recipe.installed()
        self._engines: dict[Life, Engine] = {}
        log = Path(config.log_folder) / f"{config.program}.log"
        self._program = Program(self._launch, log, config.patience, self._greet)

    @property
    def restarts(self) -> int:
        """How often the program had to be started again."""
        return self._program.restarts

    async def start(self) -> Abilities:
        if self._executable is None:
            raise self._not_installed()
        try:
            life = await self._program.start()
        except CannotStart as trouble:
            raise unavailable(trouble) from trouble
        return await self._abilities(life)

    async def infer(self, request: Request) -> Reply:
        try:
            life = await self._program.ready(self._config.ready_wait_seconds)
        except CannotStart as trouble:
            return Failure("engine_down", unavailable(trouble).message, Fault.DOWN)
        reply = await self._engines[life].infer(request)
        return await self._doubted(life, reply) if _is_doubtful(reply) else reply

    async def stream(self, request: Request, say: Say) -> Reply:
        try:
            life = await self._program.ready(self._config.ready_wait_seconds)
        except CannotStart as trouble:
            return Failure("engine_down", unavailable(trouble).message, Fault.DOWN)
        reply = await stream(self._engines[life], request, say)
        return await self._doubted(life, reply) if _is_doubtful(reply) else reply

    async def close(self) -> None:
        await self._program.stop()
        while self._engines:
            await self._engines.popitem()[1].close()

    async def _doubted(self, life: Life, reply: Reply) -> Reply:
        """The reply, or that the program died of it: a dying server still answers 500, or breaks the connection."""
        if not await life.has_ended(self._config.doubt_seconds):
            return reply
        await life.stop(now=True)
        if isinstance(reply, Failure) and reply.fault is Fault.DOWN:
            return reply
        what = f"{self._recipe.title} died with this request on board ({life.how_it_ended()})."
        return Failure("engine_crashed", what, Fault.CRASHED)

    # One life

    def _launch(self) -> Launch:
        config = self._config
        assert self._executable is not None
        call = Call(
            executable=self._executable,
            model=config.model,
            names=self._names,
            flags=self._flags,
            gpu=self._gpu,
            slots=self._slots,
            context_tokens=self._context_tokens,
            port=config.port or free_port(),
            spare_ports=(free_port(), free_port(), free_port()),
            key=secrets.token_urlsafe(24),
            log_folder=config.log_folder,
        )
        launch = self._recipe.launch(call)
        return dataclasses.replace(launch, environment={**launch.environment, **config.environment})

    async def _greet(self, life: Life) -> None:
        """Connect to a new life, and forget those that are over."""
        for over in [each for each in self._engines if each.ended.is_set()]:
            await self._engines.pop(over).close()
        launch = life.launch
        engine = http.open(http.Config(urls=(f"http://127.0.0.1:{launch.port}",), api_key=launch.key or None))
        try:
            await engine.start()
        except BatchyardError as error:
            await engine.close()
            raise life.trouble(f"does not serve us: {error}") from error
        self._engines[life] = engine

    # What it can do

    async def _abilities(self, life: Life) -> Abilities:
        paths = await served_paths(life)
        models, context = await served_models(life)
        return Abilities(
            endpoints=(paths & http.ENDPOINTS) or self._recipe.serves(self._flags),
            models=frozenset(self._names) | models,
            slots=self._slots,
            context_tokens=context or self._context_tokens,
            sees_images=may_see_images(self._config.model),
            description=f"{self._recipe.title}, {self._names[0]}, {self._slots} slots",
        )

    def _not_installed(self) -> Unavailable:
        recipe = self._recipe
        return Unavailable(
            f"{recipe.title} is not installed.",
            remedy=f"Install it ({recipe.install}), or name its executable in {recipe.variable}.",
        )


def _is_doubtful(reply: Reply) -> bool:
    if isinstance(reply, Answer):
        return reply.status >= 500
    return reply.fault in (Fault.LOST, Fault.DOWN)
