"""The models of a server: their engines, started, shared, and entered in the catalogue."""

from pathlib import Path

from batchyard.clock import Clock
from batchyard.config import RunOptions
from batchyard.pipeline.share import Sharing
from batchyard.server.models import Model
from batchyard.server.options import ServeOptions
from batchyard.wiring.engine import Chosen, engine_of
from batchyard.wiring.house import Rooms


def chosen_engine(options: ServeOptions) -> Chosen:
    """The engine that the options mean. Raises Invalid where none fits."""
    return engine_of(_run_options(options), options.data_folder)


async def start_model(options: ServeOptions, chosen: Chosen, rooms: Rooms) -> str:
    """Start an engine, and let callers and batches share it; one line about it for people."""
    house, abilities = rooms.house, await chosen.engine.start()
    sharing = Sharing(chosen.engine, abilities, house.clock, model=_engine_name(options) or _name(options))
    model = _model(options, sharing, house.clock)
    rooms.engines.add(model.name, sharing)
    house.models.add(model, aliases=chosen.names.known or ())
    return f"{model.name} by {abilities.description}"


def _model(options: ServeOptions, sharing: Sharing, clock: Clock) -> Model:
    """A model of ours goes by its served name, everywhere; an upstream's goes by its own there."""
    return Model(
        name=_name(options),
        engine=sharing.front(),
        abilities=sharing.abilities,
        created=int(clock.now()),
        engine_name=_engine_name(options),
    )


def _engine_name(options: ServeOptions) -> str | None:
    return options.model if options.upstreams else None


def _name(options: ServeOptions) -> str:
    """What the model is called: as served, else an upstream's own name, else that of its file or folder."""
    if options.served_names:
        return options.served_names[0]
    model = options.model or options.engine
    path = Path(model)
    if options.upstreams or not path.exists():
        return model
    return path.stem if path.suffix == ".gguf" else path.resolve().name


def _run_options(options: ServeOptions) -> RunOptions:
    """The part of a run's options that chooses its engine."""
    return RunOptions(
        input="",
        output="",
        model=options.model,
        served_names=options.served_names,
        upstreams=options.upstreams,
        api_key_env=options.api_key_env,
        engine=options.engine,
        mmproj=options.mmproj,
        slots=options.slots,
        context_tokens=options.context_tokens,
        threads=options.threads,
        engine_start_seconds=options.engine_start_seconds,
    )
