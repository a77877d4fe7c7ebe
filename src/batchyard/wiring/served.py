"""The models of a server: their engines, started side by side, shared, and entered in the catalogue.

One that cannot start takes no other down: it is tried again, later each time, and batches that ask for it wait.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from batchyard.config import EngineFlag, Pictures, RunOptions
from batchyard.domain.errors import BatchyardError, Invalid
from batchyard.endpoints.embeddings import GROUPED
from batchyard.engine import Abilities
from batchyard.pipeline.inline import Inlining
from batchyard.pipeline.share import Caps, Sharing
from batchyard.server.models import FAILING, STARTING, Model, Waiting
from batchyard.server.options import ModelOptions, ServeOptions
from batchyard.wiring.engine import Chosen, engine_of
from batchyard.wiring.house import Rooms

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0

SPELLING = {
    "slots": "--max-num-seqs",
    "context_tokens": "--max-model-len",
    "chat_template": "--chat-template",
    "template_arguments": "--default-chat-template-kwargs",
}
"""What we call otherwise than the programs that we start."""

Say = Callable[[str], None]
_log = logging.getLogger(__name__)


class Served:
    """The models of one server. `began` is set as soon as one of them answers."""

    def __init__(
        self, options: ServeOptions, rooms: Rooms, say: Say, *, first_pause_seconds: float = FIRST_PAUSE_SECONDS
    ) -> None:
        self.began = asyncio.Event()
        self._options = options
        self._rooms = rooms
        self._say = say
        self._pause_seconds = first_pause_seconds
        self._running: list[Chosen] = []
        for model in options.models:
            self._announce(model, STARTING)

    async def start(self) -> None:
        """Start every model; return once all have. An impatient server raises what kept one from it."""
        async with asyncio.TaskGroup() as group:
            for model in self._options.models:
                group.create_task(self._start(model))

    async def close(self) -> None:
        """Give all engines back."""
        async with asyncio.TaskGroup() as group:
            while self._running:
                group.create_task(self._running.pop().engine.close())

    async def _start(self, model: ModelOptions) -> None:
        """Start one model, however often that takes."""
        pause, told = self._pause_seconds, ""
        while (reason := await self._try(model)) is not None:
            self._announce(model, FAILING)
            _log.warning("model_not_starting", extra={"model": name_of(model), "reason": reason})
            if reason != told:
                self._say(f"Not ready: {name_of(model)}. {reason} It is tried again.")
            told = reason
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._announce(model, STARTING)

    def _announce(self, model: ModelOptions, state: str) -> None:
        waiting = Waiting(name_of(model), state, model.price, model.limits)
        self._rooms.house.models.announce(waiting, aliases=model.aliases)

    async def _try(self, model: ModelOptions) -> str | None:
        """Start one model once; why it did not start."""
        chosen: Chosen | None = None
        try:
            chosen = chosen_engine(model, self._options)
            self._running.append(chosen)
            self._serve(model, chosen, await chosen.engine.start())
        except BatchyardError as error:
            if not self._options.patient:
                raise
            if chosen is not None:
                self._running.remove(chosen)
                with suppress(BatchyardError):
                    await chosen.engine.close()
            return str(error)
        return None

    def _serve(self, model: ModelOptions, chosen: Chosen, abilities: Abilities) -> None:
        """Let callers and batches share a started engine."""
        rooms, name, remote = self._rooms, name_of(model), bool(model.upstreams)
        sharing = Sharing(
            Inlining(chosen.engine, rooms.pictures, chosen.manner, abilities),
            abilities,
            rooms.house.clock,
            model=_engine_name(model) or name,
            name=name,
            caps=Caps(
                all=model.slots if remote else None,
                batches=model.batch_slots,
                group=model.embeddings_per_call,
                request_timeout_seconds=model.request_timeout_seconds,
            ),
            grouping=GROUPED,
            people=Inlining(chosen.engine, rooms.pictures, chosen.manner, abilities),
        )
        entry = Model(
            name=name,
            engine=sharing.front(),
            abilities=abilities,
            created=int(rooms.house.clock.now()),
            engine_name=_engine_name(model),
            request_timeout_seconds=model.request_timeout_seconds,
            price=model.price,
            limits=model.limits,
        )
        rooms.engines.add(name, sharing)
        paths = chosen.names.known or () if model.paths else ()
        rooms.house.models.add(entry, aliases=(*model.aliases, *paths))
        rooms.calendar.hurry()
        self._say(f"Ready: {name} by {abilities.description}")
        self.began.set()


def name_of(model: ModelOptions) -> str:
    """What a model is called: as served, else an upstream's own name, else that of its file or folder."""
    if model.name is not None:
        return model.name
    named = (model.upstream_model if model.upstreams else model.model) or model.engine
    path = Path(named)
    if model.upstreams or not path.exists():
        return named
    return path.stem if path.suffix == ".gguf" else path.resolve().name


def chosen_engine(model: ModelOptions, options: ServeOptions) -> Chosen:
    """The engine that a model's options mean. Raises Invalid where none fits."""
    return engine_of(_run_options(model), _log_folder(model, options))


def _engine_name(model: ModelOptions) -> str | None:
    """What upstreams call it, where that is something else."""
    return model.upstream_model if model.upstreams else None


def _log_folder(model: ModelOptions, options: ServeOptions) -> str:
    """Where a started program's log goes: each in a folder of its own, where there may be several."""
    if not options.patient:
        return options.data_folder
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name_of(model)).strip(".")
    folder = Path(options.data_folder, "logs", plain or "_")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"The folder {folder} cannot be made: {error.strerror}.", remedy="Mend the disk.") from error
    return str(folder)


def _run_options(model: ModelOptions) -> RunOptions:
    """The part of a run's options that chooses its engine."""
    return RunOptions(
        input="",
        output="",
        model=(model.upstream_model or model.name) if model.upstreams else model.model,
        served_names=(name_of(model), *model.aliases),
        upstreams=model.upstreams,
        api_key_env=model.api_key_env,
        engine=model.engine,
        mmproj=model.mmproj,
        images=model.images,
        slots=model.slots,
        context_tokens=model.context_tokens,
        threads=model.threads,
        chat_template=model.chat_template,
        template_arguments=model.template_arguments,
        engine_flags=(*_for_program(model), *model.engine_flags),
        engine_start_seconds=model.engine_start_seconds,
        pictures=Pictures(model.pictures),
    )


def _for_program(model: ModelOptions) -> tuple[EngineFlag, ...]:
    given = {flag: getattr(model, field) for field, flag in SPELLING.items()}
    return tuple(EngineFlag(flag, (str(value),)) for flag, value in given.items() if value is not None)
