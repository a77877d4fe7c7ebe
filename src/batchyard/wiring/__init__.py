"""Where concrete classes meet: the only room that knows which engine, disk and dialect a run is made of."""

from batchyard.config import RunOptions
from batchyard.dialect import LineDialect
from batchyard.disk import Disk
from batchyard.disks.local import LocalDisk
from batchyard.wiring.dialect import dialect_of
from batchyard.wiring.models import engine_name, names_of
from batchyard.wiring.run import run_batch

__all__ = ["engine_name", "line_dialect", "local_disk", "run_batch"]


def local_disk() -> Disk:
    return LocalDisk()


def line_dialect(options: RunOptions) -> LineDialect:
    """The dialect of a run that has no id yet, for checking lines."""
    return dialect_of(options, names_of(options))("")
