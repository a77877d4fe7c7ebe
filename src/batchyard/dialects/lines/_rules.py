"""What one run allows in its lines."""

from collections.abc import Mapping

from msgspec import Struct

from batchyard.endpoint import Endpoint

MOST_LEVELS = 200
"""How deep JSON may nest: far above any request, far below what breaks programs that read it by recursion."""

ANY_FOLDER = ("/score", "/rerank")
"""Endpoints that are known by the end of their path, as they have been served below /, /v1 and /v2."""


class OneModel:
    """The rule of the batch services that all lines of a file ask for the same model: that of the first that has one.

    Lines must come in the order of the file at first; later they may come again in any order. `own_names` says what the
    model of an alias is called: two names of one model are the same.
    """

    def __init__(self, own_names: Mapping[str, str] | None = None) -> None:
        self.first: str | None = None
        self._own_names = own_names or {}

    def differs(self, model: str) -> bool:
        """Whether a line's model, known to be served, is another than the first line's."""
        if self.first is None:
            self.first = model
        return model != self.first and self._own(model) != self._own(self.first)

    def _own(self, model: str) -> str:
        return self._own_names.get(model, model)


class Rules(Struct, frozen=True, kw_only=True):
    """What one run allows.

    `endpoints` by canonical path. `models` are the names that may be asked for, None for any. Lines without a model get
    `default_model`; without that they are refused. `any_method` lets GET and the like pass, as some tools do.
    `batch` says that lines are those of a batch of the server, `one_model` holds them to one model.
    """

    endpoints: Mapping[str, Endpoint]
    models: frozenset[str] | None = None
    default_model: str | None = None
    any_method: bool = False
    longest_id: int = 512
    batch: bool = False
    one_model: OneModel | None = None

    def route(self, url: str) -> Endpoint | None:
        """The endpoint that a line's url means: its path, with or without `/v1` and a slash at the end."""
        path = url.rstrip("/")
        found = self.endpoints.get(path) or self.endpoints.get(f"/v1{path}")
        if found is None and path.endswith(ANY_FOLDER):
            found = self.endpoints.get("/v1" + path[path.rindex("/") :])
        return found
