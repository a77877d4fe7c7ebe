"""The models that this server answers to, and who answers for each."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from batchyard.domain.access import NO_LIMITS, ModelLimits
from batchyard.domain.errors import NotFound, Unavailable
from batchyard.domain.price import Price
from batchyard.engine import Abilities, Engine

READY = "ready"
STARTING = "starting"
FAILING = "cannot start"
"""It could not start, and is tried again."""


class Model(Struct, frozen=True):
    """One model under its name. `created` is in Unix seconds; `engine_name` what its engine calls it, None: so.

    `request_timeout_seconds` is how long an answer may take, None: as the server says. `price` None: it costs nothing.
    `limits` are for each project that has no others of its own.
    """

    name: str
    engine: Engine
    abilities: Abilities
    created: int = 0
    owned_by: str = "local"
    engine_name: str | None = None
    request_timeout_seconds: float | None = None
    price: Price | None = None
    limits: ModelLimits = NO_LIMITS

    @property
    def asked_as(self) -> str:
        """The name under which its engine is asked for it."""
        return self.engine_name or self.name


class Waiting(Struct, frozen=True):
    """A model that nobody answers for yet, or that could not start. `state` is what strangers may know of it."""

    name: str
    state: str = STARTING
    price: Price | None = None
    limits: ModelLimits = NO_LIMITS


class Models:
    """The catalogue. Models are announced before their engines start, so that batches may already ask for them."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._models: dict[str, Model] = {}
        self._waiting: dict[str, Waiting] = {}
        self._aliases: dict[str, str] = {}
        for model in models:
            self.add(model)

    def announce(self, waiting: Waiting, *, aliases: Iterable[str] = ()) -> None:
        """Know of a model that does not answer yet."""
        self._waiting[waiting.name] = waiting
        self._aliases.update(dict.fromkeys(aliases, waiting.name))

    def add(self, model: Model, *, aliases: Iterable[str] = ()) -> None:
        """Begin to answer to a model, by its name and others that no list shows."""
        self._waiting.pop(model.name, None)
        self._models[model.name] = model
        self._aliases.update(dict.fromkeys(aliases, model.name))

    def find(self, name: str) -> Model:
        """The model of a name or an alias. Raises NotFound, and Unavailable where it does not answer yet."""
        own = self.own_name(name)
        if own in self._waiting:
            raise Unavailable(
                f"The model '{own}' does not answer yet: {self._waiting[own].state}.", remedy="Try again later."
            )
        return self._models[own]

    def own_name(self, name: str) -> str:
        """What the model of a name or an alias is called. Raises NotFound."""
        own = name if name in self._models or name in self._waiting else self._aliases.get(name)
        if own is None:
            raise NotFound(
                f"The model '{name}' does not exist.", remedy="GET /v1/models lists those that do.",
                param="model", reason="model_not_found",
            )  # fmt: skip
        return own

    def terms(self, own_name: str) -> tuple[Price | None, ModelLimits]:
        """What a model costs, and what it allows each project, whether it answers or not."""
        model = self._models.get(own_name) or self._waiting.get(own_name)
        return (None, NO_LIMITS) if model is None else (model.price, model.limits)

    def own_names(self) -> Mapping[str, str]:
        """What the model of each alias is called."""
        return self._aliases

    def names_for(self, endpoint: str) -> frozenset[str]:
        """All names, aliases too, of the models that serve an endpoint, or that may: what has not started may."""
        able = {name for name, model in self._models.items() if endpoint in model.abilities.endpoints}
        able |= self._waiting.keys()
        return frozenset(able | {alias for alias, name in self._aliases.items() if name in able})

    def all(self) -> list[Model]:
        """Those that answer."""
        return list(self._models.values())

    def states(self) -> dict[str, str]:
        """How each model stands."""
        return dict.fromkeys(self._models, READY) | {each.name: each.state for each in self._waiting.values()}
