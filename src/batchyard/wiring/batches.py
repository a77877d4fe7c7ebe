"""Batches of a server, put together: what they are walked with, and the calendar that walks them."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random

import msgspec
from msgspec import Raw, Struct, field, structs

from batchyard.blob import Blobs
from batchyard.clock import Clock
from batchyard.config import DispatchSettings
from batchyard.dialects.gemini.embed import EMBEDDINGS
from batchyard.dialects.gemini.generate import CHAT, IMAGES
from batchyard.dialects.gemini.rows import row_of
from batchyard.disk import Disk
from batchyard.domain.access import ProjectId
from batchyard.domain.batch import Batch, Form
from batchyard.domain.errors import Unavailable
from batchyard.endpoints import ENDPOINTS
from batchyard.journals.disk import open_journal
from batchyard.offload import Lanes, Offload
from batchyard.pipeline.backlog import Held
from batchyard.pipeline.batch_parts import SMALL_BYTES, BatchParts, ignore
from batchyard.pipeline.batch_walk import walk_batch
from batchyard.pipeline.beat import Beat
from batchyard.pipeline.examine import Taking, nothing_examined
from batchyard.pipeline.folder import Folders
from batchyard.pipeline.heavy import Heavy, InThreads, Terms
from batchyard.pipeline.leash import Leash
from batchyard.pipeline.parking import Parking
from batchyard.pipeline.publish import Publisher
from batchyard.pipeline.share import Sharing
from batchyard.pipeline.underway import Underway
from batchyard.server.models import Models
from batchyard.service import rules
from batchyard.service.batches import canonical
from batchyard.service.ids import Ids
from batchyard.service.rules import BatchRules, QuotaOf, WhenFull
from batchyard.store import Store, TokenRoom
from batchyard.wiring.lines import line_dialect

HEAVY_AT_ONCE = 2
"""How many batches read or write whole files at the same time: more of them would take the processor from the doors."""

LANES = 6
"""Threads for the disks of all walks. More of them would keep the event loop waiting for its turn."""
HELD_BYTES = 256 << 20
"""Requests of all batches in memory."""

BATCH_RULES = BatchRules(endpoints=tuple(each for each in rules.ENDPOINTS if each in ENDPOINTS))
"""Only endpoints that we know how to check are offered."""


class Engines:
    """Who answers for each model, by the name that it is served under. Empty until the engines have started."""

    def __init__(self) -> None:
        self._sharings: dict[str, Sharing] = {}

    @property
    def sharings(self) -> Mapping[str, Sharing]:
        """All, by model."""
        return self._sharings

    def add(self, model: str, sharing: Sharing) -> None:
        self._sharings[model] = sharing

    def of(self, model: str) -> Sharing:
        """Raises Unavailable where nobody answers for it."""
        sharing = self._sharings.get(model)
        if sharing is None:
            raise Unavailable(f"Nobody here answers for the model '{model}' now.", remedy="Serve it again.")
        return sharing


class Yard(Struct, frozen=True, kw_only=True):
    """What batches need of a server. `steps` is where small steps of many of them run together. Without `heavy`, whole
    files are read and written in the threads of walks."""

    store: Store
    blobs: Blobs
    disk: Disk
    clock: Clock
    ids: Ids
    random: Random
    models: Models
    engines: Engines
    quota_of: QuotaOf
    folder: str
    steps: Offload
    underway: Underway
    heavy: Heavy | None = None
    examined: Taking = nothing_examined
    small_bytes: int = SMALL_BYTES
    moved: Callable[[Batch], None] = ignore
    counted: Callable[[Batch, Batch], None] = ignore
    retried: Callable[[str, int], None] = ignore
    on_commit: Callable[[float], None] = ignore
    dispatch: DispatchSettings = DispatchSettings()
    count_seconds: float = 1.0
    several_models: bool = False
    files_at_once: int = HEAVY_AT_ONCE
    parking: Parking = field(default_factory=Parking)
    when_full: WhenFull = WhenFull.QUEUE


def batch_parts(yard: Yard) -> BatchParts:
    """What every batch of a server is walked with."""
    terms = _terms_for(yard.models, several_models=yard.several_models)
    return BatchParts(
        store=yard.store,
        disk=yard.disk,
        clock=yard.clock,
        folder=yard.folder,
        folders=Folders(yard.disk, yard.folder, yard.steps),
        publisher=Publisher(yard.blobs, yard.ids.file),
        journal=lambda offload, folder, lines: open_journal(
            yard.disk, offload, folder, lines, yard.on_commit, made=True
        ),
        dialect=lambda batch: line_dialect(batch.id, terms(batch), batch.form),
        model_of=lambda name: yard.models.own_names().get(name, name),
        engine_of=yard.engines.of,
        input_of=yard.blobs.path,
        max_lines=lambda project: yard.quota_of(project).requests_per_file,
        room_of=_room_for(yard),
        price_of=lambda model: yard.models.terms(model)[0],
        parking=yard.parking,
        new_event_id=yard.ids.event,
        random=yard.random,
        terms=terms,
        heavy=yard.heavy or InThreads(yard.disk, yard.files_at_once),
        gathering=asyncio.Semaphore(HEAVY_AT_ONCE),
        examined=yard.examined,
        small_bytes=yard.small_bytes,
        held=Held(HELD_BYTES),
        beat=Beat(),
        underway=yard.underway,
        moved=yard.moved,
        counted=yard.counted,
        retried=yard.retried,
        dispatch=yard.dispatch,
        count_seconds=yard.count_seconds,
        park=yard.when_full is WhenFull.QUEUE,
    )


async def walk_in_a_lane(parts: BatchParts, lanes: Lanes, batch: Batch, leash: Leash) -> None:
    """Walk a batch with a lane of its own for its disk, so that it waits for no other's."""
    await walk_batch(batch, parts, lanes.lane(), leash)


def _room_for(yard: Yard) -> Callable[[ProjectId, str | None], TokenRoom]:
    """How many tokens batches of a project may hold, and those of a model among them, as it is now."""

    def room(project: ProjectId, model: str | None) -> TokenRoom:
        quota = yard.quota_of(project)
        if model is None:
            return TokenRoom(quota.enqueued_tokens)
        return TokenRoom(quota.enqueued_tokens, quota.limits(model, yard.models.terms(model)[1]).enqueued_tokens)

    return room


def _terms_for(models: Models, *, several_models: bool) -> Callable[[Batch], Terms]:
    """What each batch's lines are held to: its endpoint, and the models that serve it now."""

    def terms(batch: Batch) -> Terms:
        path = canonical(batch.endpoint, batch.form)
        if batch.in_progress_at is not None:  # its models were here once, and what is allowed now does not matter
            found = Terms(path, None, several_models=True)
        else:
            found = terms_of(path, models, several_models=several_models)
        return _of_rows(found, models, batch.asked_model) if batch.form is Form.GEMINI else found

    return terms


def _of_rows(terms: Terms, models: Models, default_model: str | None) -> Terms:
    """The terms of Gemini's rows. There, models that make pictures are asked in the same words as those that chat."""
    able = terms.models
    if able is not None and terms.endpoint == CHAT:
        able |= models.names_for(IMAGES)
    return structs.replace(terms, models=able, several_models=True, lines=Form.GEMINI, default_model=default_model)


def terms_of(path: str, models: Models, *, several_models: bool) -> Terms:
    """What lines for an endpoint are held to."""
    return Terms(path, models.names_for(path), several_models=several_models, own_names=dict(models.own_names()))


def guess_terms(first_line: bytes, models: Models, *, several_models: bool) -> Terms | None:
    """What a batch's lines would be held to whose first line is this; None where there is no such batch."""
    url = _url_of(first_line)
    if url is not None:
        path = canonical(url, Form.AZURE)
        return terms_of(path, models, several_models=several_models) if path in BATCH_RULES.endpoints else None
    path = _path_of_row(first_line)
    return None if path is None else _of_rows(terms_of(path, models, several_models=several_models), models, None)


class _Line(Struct):
    """What a line must have to be a request at all."""

    url: str
    body: Raw


def _url_of(line: bytes) -> str | None:
    try:
        return msgspec.json.decode(line, type=_Line).url
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _path_of_row(line: bytes) -> str | None:
    """The endpoint of a row of Gemini's."""
    try:
        request = row_of(line)[1]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
        return None
    if not isinstance(request, dict):
        return None
    return CHAT if "contents" in request else EMBEDDINGS if "content" in request else None
