"""`batchyard.toml`: what may stand in it, what does, what is wrong with it, and what it tells a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from batchyard.server.options import ServeOptions
from batchyard.stores.sqlite import project_names
from batchyard.wiring.settings.check import check
from batchyard.wiring.settings.options import serve_options
from batchyard.wiring.settings.read import Fault, load, read

__all__ = ["Fault", "Settings", "settings"]


class Settings(Struct, frozen=True):
    """A configuration that was read and checked. `options` is only right where no fault is more than a warning."""

    options: ServeOptions
    faults: Sequence[Fault]

    @property
    def mistakes(self) -> int:
        return sum(not fault.warning for fault in self.faults)


def settings(path: str | None, environment: Mapping[str, str]) -> Settings:
    """Read and check a file, None for variables alone. Raises Invalid where the file cannot be read at all."""
    folder = str(Path(path).parent) if path else ""
    found = read(load(path), environment)
    options = serve_options(found.values, folder) if _whole(found.faults) else ServeOptions(data_folder=folder)
    known = project_names(f"{options.data_folder}/facts.db")
    return Settings(options, check(found, folder, environment, known))


def _whole(faults: Sequence[Fault]) -> bool:
    return all(fault.warning for fault in faults)
