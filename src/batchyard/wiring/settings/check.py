"""What is wrong with a configuration as a whole: what does not go together, and what is not there on this machine."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path as FilePath
from typing import Any

import msgspec

from batchyard.engines import managed
from batchyard.server.options import is_loopback
from batchyard.transport.outside import Outside
from batchyard.wiring.settings.document import Path
from batchyard.wiring.settings.keys import DAY
from batchyard.wiring.settings.options import beside
from batchyard.wiring.settings.read import Fault, Read

OF_UPSTREAMS = ("upstream_model", "api_key_env", "pictures")
OF_ENGINES = ("context_tokens", "threads", "mmproj", "chat_template", "template_arguments")
WRITTEN = {"context_tokens": "context", "engine_flags": "flags"}
LOADED = (".gguf",)


def check(read: Read, folder: str, environment: Mapping[str, str], projects: Collection[str] | None) -> list[Fault]:
    """Everything that is wrong, with what the reading found, in the file's order.

    `folder` is where the file lies. `projects` are the names of those that there are, None where nobody knows.
    """
    whole = _Whole(read, folder, environment)
    tables = (
        whole.server(),
        whole.models(),
        whole.projects(projects),
        whole.windows(),
        whole.webhooks(),
        whole.images(),
        whole.batches(),
    )
    return sorted((*read.faults, *chain.from_iterable(tables)), key=lambda fault: (fault.line, fault.key))


class _Whole:
    """One configuration, looked at as a whole. What is missing in `values` was told of when it was read."""

    def __init__(self, read: Read, folder: str, environment: Mapping[str, str]) -> None:
        self._read = read
        self._values = read.values
        self._folder = folder
        self._environment = environment

    def server(self) -> Iterator[Fault]:
        server = self._values.get("server", {})
        host = server.get("host", "127.0.0.1")
        if server.get("keys") is False and not is_loopback(host):
            yield self._read.fault(
                ("server", "keys"),
                f"false, while the server listens on {host}",
                allowed="false on 127.0.0.1, ::1 or localhost only",
                remedy="Without keys, everyone who reaches the server is its administrator: use keys, or listen on "
                "127.0.0.1.",
            )
        elif server.get("keys") is False:
            yield self._warning(("server", "keys"), "false: every program on this machine is an administrator")
        for table in ("limits", *(f"projects.{name}" for name in self._values.get("projects", {}))):
            yield from self._sizes(tuple(table.split(".", 1)))

    def _sizes(self, path: Path) -> Iterator[Fault]:
        values = self._at(path)
        one, all = values.get("file_bytes"), values.get("total_bytes")
        if one is not None and all is not None and one > all:
            yield self._read.fault(
                (*path, "file_bytes"), f"{one} bytes, of {all} for all files", remedy="One file is at most all of them."
            )

    def models(self) -> Iterator[Fault]:
        models: Mapping[str, Any] = self._values.get("models", {})
        if not models and "models" not in self._read.document.values:
            yield self._warning((), "no model", "Add [models.NAME], or name one with --model when you serve.")
        yield from self._names(models)
        for name, model in models.items():
            yield from self._model(("models", name), model)

    def _names(self, models: Mapping[str, Any]) -> Iterator[Fault]:
        said = Counter([*models, *(alias for model in models.values() for alias in set(model.get("aliases", ())))])
        for name, model in models.items():
            for place, alias in enumerate(model.get("aliases", ())):
                if said[alias] > 1 or alias == name:
                    path = ("models", name, "aliases", str(place))
                    fault = self._read.fault(
                        path, f'"{alias}", which another model is called', remedy="Give each name to one model."
                    )
                    yield _of(fault, ("models", name, "aliases"))

    def _model(self, path: Path, model: Mapping[str, Any]) -> Iterator[Fault]:
        engine, written = model.get("engine", "auto"), self._at_raw(path)
        remote = "upstreams" in written
        if not remote and "model" not in written and engine not in ("echo", "http") and not self._is_broken(path):
            remedy = 'Add model = "..." (a GGUF file, a folder, a Hugging Face id, or demo), or upstreams = ["URL"].'
            yield self._read.fault(path, "neither model nor upstreams", allowed="one of them", remedy=remedy)
        if engine == "http" and not remote:
            yield self._read.fault((*path, "engine"), '"http" without upstreams', remedy='Add upstreams = ["URL"].')
        if remote:
            yield from self._remote(path, model, written)
        else:
            yield from self._local(path, model, written)
        if "prices" in written and "input" not in model.get("prices", {}) and not self._is_broken(path):
            yield self._read.fault(
                (*path, "prices"), "no price of input", remedy="Add input = 0.15, or whatever it is."
            )
        slots, of_batches = model.get("slots"), model.get("batch_slots")
        if slots is not None and of_batches is not None and of_batches > slots:
            yield self._read.fault(
                (*path, "batch_slots"), f"{of_batches}, of {slots} slots", allowed=f"1 to {slots}",
                remedy="Leave some slots for people.",
            )  # fmt: skip

    def _is_broken(self, path: Path) -> bool:
        """Whether something in a table could not be read: then nobody knows what is missing."""
        document = self._read.document
        start = document.line(path) or 0
        later = [line for key, line in document.lines.items() if line > start and key[: len(path)] != path]
        return any(start < broken.line < min(later, default=broken.line + 1) for broken in document.broken)

    def _remote(self, path: Path, model: Mapping[str, Any], written: Collection[str]) -> Iterator[Fault]:
        if model.get("engine", "auto") not in ("auto", "http"):
            yield self._read.fault(
                (*path, "engine"), f'"{model["engine"]}" beside upstreams', allowed="auto or http",
                remedy="Either upstreams answer, or an engine here: leave one of them out.",
            )  # fmt: skip
        if "upstreams" in model and not model["upstreams"]:
            yield self._read.fault((*path, "upstreams"), "no URL", remedy='Add one: "http://localhost:8000/v1".')
        if "model" in written:
            yield self._read.fault(
                (*path, "model"), "a model to load, beside upstreams",
                remedy="Either upstreams answer, or an engine here: leave one of them out. What the upstreams call it "
                "is upstream_model.",
            )  # fmt: skip
        for field in (*OF_ENGINES, "engine_flags"):
            if field in model:
                yield self._of_no_use(path, field, "upstreams")
        variable = model.get("api_key_env")
        if variable and not self._environment.get(variable):
            yield self._warning(
                (*path, "api_key_env"), f"{variable}, which is not set here", "Set it where the server runs."
            )

    def _local(self, path: Path, model: Mapping[str, Any], written: Collection[str]) -> Iterator[Fault]:
        engine = model.get("engine", "auto")
        for field in OF_UPSTREAMS:
            if field in written:
                yield self._read.fault(
                    (*path, field),
                    "something about upstreams, where there are none",
                    remedy="Add upstreams, or drop it.",
                )
        if "engine_flags" in model and engine not in ("auto", *managed.RECIPES):
            yield self._of_no_use(path, "engine_flags", f"engine {engine}")
        if engine in managed.RECIPES and managed.installed(engine) is None:
            yield self._warning((*path, "engine"), f"{engine}, which is not installed here")
        name = model.get("model", "demo")
        if name != "demo" and _is_path(name) and not FilePath(beside(name, self._folder)).exists():
            yield self._warning((*path, "model"), f'"{name}": there is no such file or folder', "Check the path.")

    def _of_no_use(self, path: Path, field: str, whose: str) -> Fault:
        key = WRITTEN.get(field, field)
        return self._read.fault((*path, key), f"something that means nothing to {whose}", remedy="Leave it out.")

    def projects(self, known: Collection[str] | None) -> Iterator[Fault]:
        if known is None:
            return
        for name, project in self._values.get("projects", {}).items():
            if name not in known and not project.get("create"):
                yield self._warning(
                    ("projects", name), "a project that there is not",
                    "Make it with 'batchyard projects create', or write create = true.",
                )  # fmt: skip

    def batches(self) -> Iterator[Fault]:
        if self._values.get("batches", {}).get("several_models"):
            models = self._values.get("models", {})
            if any(model.get("enqueued_tokens") for model in models.values()):
                yield self._warning(
                    ("batches", "several_models"), "true, while models have limits on enqueued tokens",
                    "Batches of several models are held to the tokens of their project only.",
                )  # fmt: skip

    def windows(self) -> Iterator[Fault]:
        day = self._values.get("windows", {}).get("24h", DAY)
        if day != DAY:
            yield self._read.fault(("windows", "24h"), f"{day} seconds", allowed="86400", remedy="Leave it out.")

    def webhooks(self) -> Iterator[Fault]:
        yield from self._places("webhooks", self._values.get("webhooks", {}).get("webhook_allow_private", ()))

    def images(self) -> Iterator[Fault]:
        yield from self._places("images", self._values.get("images", {}).get("allow_private", ()))

    def _places(self, table: str, places: Collection[str]) -> Iterator[Fault]:
        for place in places:
            try:
                Outside((place,))
            except ValueError:
                yield self._read.fault(
                    (table, "allow_private"), f'"{place}"', allowed="a host, an address or a network",
                    remedy='Write "hooks.internal", "10.0.0.5" or "10.0.0.0/8".',
                )  # fmt: skip

    def _warning(self, path: Path, found: str, remedy: str = "") -> Fault:
        return self._read.fault(path, found, remedy=remedy, warning=True)

    def _at(self, path: Path) -> Mapping[str, Any]:
        values: Any = self._values
        for name in path:
            values = values.get(name, {})
        return values

    def _at_raw(self, path: Path) -> Collection[str]:
        """The names of the keys that stand in a table, wrong ones too."""
        values: Any = self._read.document.values
        for name in path:
            values = values.get(name, {})
        variables = {
            key[len(path)] for key in self._read.variables if key[: len(path)] == path and len(key) > len(path)
        }
        return set(values) | variables


def _of(fault: Fault, path: Path) -> Fault:
    """A fault of a list's element, told as one of the list."""
    return msgspec.structs.replace(fault, key=".".join(path))


def _is_path(model: str) -> bool:
    return model.endswith(LOADED) or model.startswith((".", "/", "~"))
