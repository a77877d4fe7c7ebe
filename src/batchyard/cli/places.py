"""Can the run read and write where it is told to? Asked before anything runs, so that no work is lost at its end."""

import os
import stat
from pathlib import Path

from batchyard.config import RunOptions
from batchyard.domain.errors import Invalid, NotFound

REMOTE = "://"
STREAM = "-"


def check_places(options: RunOptions, summary: str | None) -> None:
    """Raises NotFound or Invalid with a remedy where a place cannot be used."""
    _check_input(options.input)
    outputs = {"output": options.output, "error file": options.errors, "summary": summary}
    named = {role: place for role, place in outputs.items() if place is not None}
    for role, place in named.items():
        _check_output(role, place)
    _check_apart({"input": options.input, **named})
    for folder in (options.staging_folder, options.run_folder):
        if folder is not None:
            _check_folder(folder)


def _check_input(place: str) -> None:
    if place == STREAM or REMOTE in place:
        return
    path = Path(place)
    if not path.exists():
        raise NotFound(f"There is no input file {place}.", remedy="Check the path.", param="--input-file")
    if path.is_dir():
        raise Invalid(f"The input {place} is a folder.", remedy="Name a file of it.", param="--input-file")
    if not os.access(path, os.R_OK):
        raise Invalid(f"The input {place} may not be read.", remedy="Check its rights.", param="--input-file")


def _check_output(role: str, place: str) -> None:
    if place == STREAM or REMOTE in place:
        return
    path = Path(place)
    if path.is_dir():
        raise Invalid(f"The {role} {place} is a folder.", remedy="Name a file in it.")
    folder = Path(os.path.realpath(place)).parent
    if not folder.is_dir():
        raise NotFound(f"The folder {folder} of the {role} does not exist.", remedy=f"Make it: mkdir -p {folder}")
    writable = os.access(path if path.exists() else folder, os.W_OK) and (
        not _is_plain(path) or os.access(folder, os.W_OK | os.X_OK)
    )
    if not writable:
        raise Invalid(f"The {role} {place} cannot be written.", remedy="Check the rights of the file and its folder.")


def _is_plain(path: Path) -> bool:
    """A file that is written by renaming, so that its folder must be writable."""
    return not path.exists() or path.is_file()


def _check_folder(place: str) -> None:
    path = Path(place)
    if path.exists() and not path.is_dir():
        raise Invalid(f"{place} is no folder.", remedy="Name another one.")
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Invalid(f"The folder {place} cannot be written.", remedy="Check its rights, or name another one.")


def _check_apart(places: dict[str, str]) -> None:
    """No two may be the same file, by whatever name, link or hard link."""
    seen: dict[object, str] = {}
    for role, place in places.items():
        identity = _identity(place)
        if identity is None:
            continue
        if identity in seen:
            raise Invalid(
                f"The {seen[identity]} and the {role} are the same file: {place}.",
                remedy="Give each a file of its own.",
            )
        seen[identity] = role


def _identity(place: str) -> object | None:
    """Equal for two names of one file that can be overwritten; None of streams and special files."""
    if place == STREAM:
        return None
    if REMOTE in place:
        return None
    path = Path(place)
    if not path.exists():
        return os.path.realpath(place)
    facts = path.stat()
    return (facts.st_dev, facts.st_ino) if stat.S_ISREG(facts.st_mode) else None
