"""The models that this server answers to, and who answers for each."""

from collections.abc import Iterable

from msgspec import Struct

from batchyard.domain.access import NO_LIMITS, ModelLimits
from batchyard.domain.errors import NotFound
from batchyard.domain.price import Price
from batchyard.engine import Abilities, Engine


class Model(Struct, frozen=True):
    """One model under its name. `created` is in Unix seconds; `engine_name` what its engine calls it, None: so.

    `price` None: it costs nothing. `limits` are for each project that has no others of its own.
    """

    name: str
    engine: Engine
    abilities: Abilities
    created: int = 0
    owned_by: str = "local"
    engine_name: str | None = None
    price: Price | None = None
    limits: ModelLimits = NO_LIMITS

    @property
    def asked_as(self) -> str:
        """The name under which its engine is asked for it."""
        return self.engine_name or self.name


class Models:
    """The catalogue. It is empty until the engines have started."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._models: dict[str, Model] = {}
        self._aliases: dict[str, str] = {}
        for model in models:
            self.add(model)

    def add(self, model: Model, *, aliases: Iterable[str] = ()) -> None:
        """Begin to answer to a model, by its name and others that no list shows."""
        self._models[model.name] = model
        self._aliases.update(dict.fromkeys(aliases, model.name))

    def find(self, name: str) -> Model:
        """The model of a name or an alias. Raises NotFound."""
        model = self._models.get(name) or self._models.get(self._aliases.get(name, name))
        if model is None:
            raise NotFound(
                f"The model '{name}' does not exist.", remedy="GET /v1/models lists those that do.",
                param="model", reason="model_not_found",
            )  # fmt: skip
        return model

    def names_for(self, endpoint: str) -> frozenset[str]:
        """All names, aliases too, of the models that serve an endpoint."""
        able = {name for name, model in self._models.items() if endpoint in model.abilities.endpoints}
        return frozenset(able | {alias for alias, name in self._aliases.items() if name in able})

    def all(self) -> list[Model]:
        return list(self._models.values())
