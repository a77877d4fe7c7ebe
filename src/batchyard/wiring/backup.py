"""A data folder, saved while its server runs, and brought back.

A backup is a folder: the database at one moment (`facts.db`), every blob that it speaks of, and what running batches
have answered so far (`runs/`). Blobs never change once they are whole, so on the same disk they are linked and cost no
room. What became durable after the moment of the database is harmless: a journal may know more than its batch has
counted, just as after a crash. Keys come along as hashes; the administrator's key file does not.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard import __version__
from batchyard.domain.errors import Conflict, Invalid, Unavailable
from batchyard.stores.sqlite import snapshot
from batchyard.stores.sqlite.snapshot import Needed
from batchyard.wiring.house import RUNS
from batchyard.wiring.secret import HOOK_FILE, write_secret

FACTS = "facts.db"
BLOBS = "blobs"
ABOUT = "backup.json"
_TRIES = 5

Told = Callable[[int, int], None]
"""Takes how many blobs are there, and how many there are to be."""


class About(Struct, frozen=True, kw_only=True):
    """What a backup holds, as `backup.json` says it: sizes in bytes."""

    release: str
    schema: int
    blobs: int
    bytes: int
    linked: int
    runs: int


def back_up(data_folder: str, target: str, *, told: Told) -> About:
    """Save a data folder to a new folder. Blocks; its server may run on.

    Raises Conflict where the target exists, Unavailable where the folder cannot be read or the target not be written.
    """
    source, place = Path(data_folder), Path(target)
    if place.exists():
        raise Conflict(f"{target} exists already.", remedy="Name a folder that does not exist.")
    partial = place.with_name(place.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        about = _save(source, partial, told)
        _keep(partial, place)
    except OSError as error:
        raise Unavailable(
            f"The backup to {target} failed: {error.strerror or error}.", remedy="Make room, and try again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return about


def restore(backup: str, data_folder: str, *, verify: bool, told: Told) -> About:
    """Bring a backup back to a new data folder. Blocks. `verify` reads every blob and compares its hash.

    Raises Conflict where the folder has anything in it, Invalid where the backup is not whole.
    """
    source, place = Path(backup), Path(data_folder)
    about = _about(source)
    if place.exists() and any(place.iterdir()):
        raise Conflict(f"{data_folder} is not empty.", remedy="Name a new folder, and serve from that.")
    partial = place.with_name(place.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        snapshot.check(str(source / FACTS))
        shutil.copyfile(source / FACTS, partial / FACTS)
        (partial / FACTS).chmod(0o600)
        _copy_secret(source, partial)
        _bring(source, partial, snapshot.needed(str(source / FACTS)), verify, told)
        _copy_runs(source, partial)
        with suppress(FileNotFoundError):
            place.rmdir()
        _keep(partial, place)
    except OSError as error:
        raise Unavailable(
            f"The backup {backup} cannot be brought to {data_folder}: {error.strerror or error}.",
            remedy="Make room, and try again.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return about


def _save(source: Path, partial: Path, told: Told) -> About:
    """Blobs, database, runs. A file that is deleted meanwhile takes its bytes along: then look again."""
    for _ in range(_TRIES):
        facts = partial / FACTS
        facts.unlink(missing_ok=True)
        snapshot.take(str(source / FACTS), str(facts))
        facts.chmod(0o600)
        _copy_secret(source, partial)
        try:
            linked = _bring(source, partial, blobs := snapshot.needed(str(facts)), False, told)
        except Invalid:
            continue
        about = About(
            release=__version__,
            schema=snapshot.check(str(facts)),
            blobs=len(blobs),
            bytes=sum(_path(partial, blob).stat().st_size for blob in blobs),
            linked=linked,
            runs=_copy_runs(source, partial),
        )
        (partial / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")
        return about
    raise Unavailable(
        f"Files of {source} vanish faster than they can be saved.", remedy="Try again when fewer are deleted."
    )


def _bring(source: Path, target: Path, blobs: list[Needed], verify: bool, told: Told) -> int:
    """Bring every blob to the target; how many were linked. Raises Invalid where one is missing or not whole."""
    linked = 0
    for number, blob in enumerate(blobs, 1):
        there, here = _path(source, blob), _path(target, blob)
        here.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not here.exists():
            linked += _link_or_copy(there, here)
        _check(here, blob, verify)
        told(number, len(blobs))
    return linked


def _link_or_copy(there: Path, here: Path) -> bool:
    """Whether a link would do."""
    try:
        os.link(there, here)
    except FileNotFoundError as error:
        raise Invalid(f"The bytes of {there} are missing.", remedy="Take the backup again.") from error
    except OSError:  # another disk, or one without links
        shutil.copyfile(there, here)
        return False
    return True


def _check(here: Path, blob: Needed, verify: bool) -> None:
    size = here.stat().st_size
    if blob.bytes is not None and size != blob.bytes:
        raise Invalid(f"{blob.key} has {size} bytes instead of {blob.bytes}.", remedy="Take the backup again.")
    if verify and blob.sha256:
        with here.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != blob.sha256:
                raise Invalid(f"{blob.key} is not what it was.", remedy="Use another backup.")


def _copy_secret(source: Path, target: Path) -> None:
    """Receivers verify with it, so it must be the same afterwards. One older than this release has none."""
    with suppress(FileNotFoundError):
        write_secret(str(target / HOOK_FILE), (source / HOOK_FILE).read_text("utf-8").strip())


def _copy_runs(source: Path, target: Path) -> int:
    """Copy what running batches keep; how many there are. One that ends meanwhile is not needed any more."""
    runs = [each for each in (source / RUNS).iterdir() if each.is_dir()] if (source / RUNS).is_dir() else []
    for run in runs:
        for path in sorted(run.rglob("*")):
            here = target / RUNS / path.relative_to(source / RUNS)
            with suppress(FileNotFoundError):
                if path.is_file():
                    here.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    shutil.copyfile(path, here)
    return len(runs)


def _about(source: Path) -> About:
    try:
        return msgspec.json.decode((source / ABOUT).read_bytes(), type=About)
    except (OSError, msgspec.DecodeError) as error:
        raise Invalid(
            f"{source} is no backup: it has no whole {ABOUT}.", remedy="Give a folder that `batchyard backup` made."
        ) from error


def _keep(partial: Path, place: Path) -> None:
    """Make everything safe, then give it its name."""
    for folder, _, files in os.walk(partial):
        for name in files:
            _sync(Path(folder) / name)
        _sync(Path(folder))
    partial.rename(place)
    _sync(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _path(folder: Path, blob: Needed) -> Path:
    return folder / BLOBS / blob.key
