"""The models that this server answers to, and who answers for each."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from batchyard.domain.errors import NotFound
from batchyard.engine import Abilities, Engine


class Model(Struct, frozen=True):
    """One model under its name. `created` is in Unix seconds."""

    name: str
    engine: Engine
    abilities: Abilities
    created: int = 0
    owned_by: str = "local"


class Models:
    """The catalogue. It is empty until the engines have started."""

    def __init__(self, models: Iterable[Model] = (), *, aliases: Mapping[str, str] | None = None) -> None:
        self._models: dict[str, Model] = {}
        self._aliases = dict(aliases or {})
        for model in models:
            self.add(model)

    def add(self, model: Model) -> None:
        """Begin to answer to a model."""
        self._models[model.name] = model

    def find(self, name: str) -> Model:
        """The model of a name or an alias. Raises NotFound."""
        model = self._models.get(self._aliases.get(name, name))
        if model is None:
            raise NotFound(
                f"The model '{name}' does not exist.", remedy="GET /v1/models lists those that do.",
                param="model", reason="model_not_found",
            )  # fmt: skip
        return model

    def all(self) -> list[Model]:
        return list(self._models.values())
