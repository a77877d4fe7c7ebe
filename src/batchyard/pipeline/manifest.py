"""The manifest of a run: what it was begun with, and how far it got.

`run.json` in the run's folder is what a later start reads to tell a run to resume from a run that only looks alike. It
is written to a new name, synced and renamed, so it is always whole.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec
import xxhash
from msgspec import Struct

from batchyard.disk import Disk
from batchyard.domain.errors import Conflict, Invalid

VERSION = 1
NAME = "run.json"
_CHUNK_BYTES = 1 << 20


class State(StrEnum):
    """How far a run got. Each state says what is durable in the folder."""

    BEGUN = "begun"
    """The manifest alone."""
    PLANNED = "planned"
    """The plan, and whatever the journal holds."""
    FINISHED = "finished"
    """The output. The plan and the journal are gone."""


class InputFacts(Struct, frozen=True):
    """What tells one input from another.

    `path` is the regular file that is read, `size_bytes` its size. `identity` is equal for two inputs only if they are
    the same file in the same state, and empty where nothing but the bytes can tell; `digest` is the hash of the bytes,
    once they were read.
    """

    path: str
    size_bytes: int
    identity: str = ""
    digest: str = ""


class OutputFacts(Struct, frozen=True):
    """What a finished run wrote."""

    lines: int = 0
    succeeded: int = 0
    errored: int = 0
    output_bytes: int = 0
    error_bytes: int = 0


class Manifest(Struct):
    """See the module. `settings` are those that decide what the answers are; the others may change between starts."""

    run_id: str
    input: InputFacts
    settings: dict[str, str]
    state: State = State.BEGUN
    begun_at: float = 0.0
    finished_at: float | None = None
    output: OutputFacts | None = None
    version: int = VERSION


def load(disk: Disk, folder: str) -> Manifest | None:
    """The manifest of a folder, or None where there is none."""
    path = f"{folder}/{NAME}"
    if not disk.exists(path):
        return None
    handle = disk.open(path)
    try:
        text = handle.read_at(0, handle.size())
    finally:
        handle.close()
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise Invalid(
            f"{path} is not the manifest of a run: {error}.", remedy="Use --fresh to start over in this folder."
        ) from error
    if manifest.version != VERSION:
        raise Invalid(
            f"{path} was written by another release (format {manifest.version}, this one reads {VERSION}).",
            remedy="Finish it with that release, or use --fresh to start over.",
        )
    return manifest


def save(disk: Disk, folder: str, manifest: Manifest) -> None:
    """Write the manifest so that after any crash either the old or the new one is there."""
    path = f"{folder}/{NAME}"
    new = f"{path}.new"
    disk.remove(new)
    handle = disk.open(new, create=True)
    try:
        handle.append(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        handle.sync()
    finally:
        handle.close()
    disk.rename(new, path)
    disk.sync_folder(folder)


def refuse_other_settings(manifest: Manifest, settings: Mapping[str, str]) -> None:
    """Raise Conflict where a setting that decides the answers differs from the one that the run was begun with."""
    names = sorted(manifest.settings.keys() | settings.keys())
    differing = [
        f"{name} was {manifest.settings.get(name, 'unset')}, is {settings.get(name, 'unset')}"
        for name in names
        if manifest.settings.get(name) != settings.get(name)
    ]
    if differing:
        raise Conflict(
            f"An unfinished run of this input and output was begun with other settings: {'; '.join(differing)}.",
            remedy="Give the same settings to go on, another output to run beside it, or --fresh to start over.",
        )


def same_input(disk: Disk, then: InputFacts, now: InputFacts) -> bool:
    """Whether two inputs are the same. An equal identity is believed; otherwise the bytes decide: a copy counts."""
    if then.identity and then.identity == now.identity:
        return True
    return then.size_bytes == now.size_bytes and then.digest != "" and digest_of(disk, now.path) == then.digest


def refuse_changed_input(disk: Disk, manifest: Manifest, now: InputFacts) -> None:
    """Raise Conflict where the input is not the one that the run was begun with."""
    if not same_input(disk, manifest.input, now):
        raise Conflict(
            f"The input {now.path} has changed since this run was begun; its old results are not mixed with new lines.",
            remedy="Use --fresh to start over, or give another output.",
        )


def digest_of(disk: Disk, path: str) -> str:
    """The hash of a whole file, as the validation takes it."""
    digest = xxhash.xxh3_128()
    handle = disk.open(path)
    try:
        offset = 0
        while chunk := handle.read_at(offset, _CHUNK_BYTES):
            digest.update(chunk)
            offset += len(chunk)
    finally:
        handle.close()
    return digest.hexdigest()
