"""The contract of a store: where facts live.

Each call is one transaction: it happened wholly or not at all, and once it returned it survives a power cut. Calls may
come from any number of callers at once; each sees the calls before it. Writes that are begun one after another, without
waiting for each, are carried out in that order. A call that names a project touches nothing of
any other: an id of another project is an unknown id. All times are whole seconds since 1970; `at` is the caller's now.

Every call raises Unavailable where the database cannot serve (locked for too long, full, broken).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from batchyard.domain.access import Key, KeyId, Project, ProjectId, Quota
from batchyard.domain.batch import Batch, BatchId, BatchState, Counts, Form
from batchyard.domain.event import Event
from batchyard.domain.file import File, FileId
from batchyard.domain.price import Spent
from batchyard.domain.result import Usage
from batchyard.domain.resumable import Resumable, ResumableId
from batchyard.domain.upload import Part, PartId, Upload, UploadId
from batchyard.domain.webhook import Delivery, EndpointFields, WebhookEndpoint, WebhookId

T = TypeVar("T")


class Direction(StrEnum):
    """Of a list, by time of creation; what was created in the same second keeps the order in which it came."""

    ASC = "asc"
    DESC = "desc"


class Cursor(Struct, frozen=True):
    """Which part of a list to give: at most `limit` rows after the one with the id `after`.

    The row that `after` names need not be in the list any more: a deleted one still marks its place.
    """

    limit: int
    after: str | None = None
    direction: Direction = Direction.DESC


class Page(Struct, Generic[T], frozen=True):
    """A part of a list. `more` says whether anything that this very caller would see comes after it."""

    rows: Sequence[T]
    more: bool


class BatchFilter(Struct, frozen=True, kw_only=True):
    """Which batches to list; both times are included. None does not restrict."""

    states: frozenset[BatchState] | None = None
    forms: frozenset[Form] | None = None
    created_from: int | None = None
    created_until: int | None = None


class TokenRoom(Struct, frozen=True):
    """How many enqueued tokens a project's unended batches may hold: all of them, and those of one model. None: any."""

    project: int | None = None
    model: int | None = None

    @property
    def most(self) -> int | None:
        """What one batch alone may hold."""
        return min((bound for bound in (self.project, self.model) if bound is not None), default=None)


class Once(Struct, frozen=True):
    """A creation that must not happen twice: `key` is the caller's idempotency key, `digest` hashes what was asked."""

    key: str
    digest: str


class Retried(Struct, frozen=True):
    """What a batch that retries another is gathered from: blobs, None where they are gone. The results are those that
    tell of errors, or all of them, where they are in one file."""

    input_blob: str | None
    result_blob: str | None


class Projects(Protocol):
    """Tenants."""

    async def add(self, project: Project) -> None:
        """Raises Conflict where the name is taken."""
        ...

    async def get(self, id: ProjectId) -> Project | None: ...

    async def list(self) -> Sequence[Project]:
        """All, oldest first."""
        ...


class Keys(Protocol):
    """Secrets' hashes."""

    async def add(self, key: Key) -> None: ...

    async def found(self, project: Project, key: Key) -> bool:
        """Add the first project with its first key; False, and nothing added, where any key exists already."""
        ...

    async def get(self, project: ProjectId, id: KeyId) -> Key | None: ...

    async def by_prefix(self, prefix: str) -> Key | None:
        """The key whose secret begins so, working or not: the one question that no project asks."""
        ...

    async def list(self, project: ProjectId) -> Sequence[Key]:
        """All of a project, revoked ones too, oldest first."""
        ...

    async def revoke(self, project: ProjectId, id: KeyId, at: int) -> Key | None:
        """The key, revoked; the first revocation's time stays. None where there is no such key."""
        ...

    async def rotate(self, old: KeyId, new: Key, old_expires_at: int) -> bool:
        """Add `new` to its project and let `old` of the same project end at the given time, or earlier where it would.

        False, and nothing changed, where `old` is unknown or revoked.
        """
        ...

    async def touch(self, id: KeyId, at: int) -> None:
        """Note that the key was used."""
        ...


class Files(Protocol):
    """Files. One that was deleted, or has expired at `at`, is unknown to all but `dead_blobs`."""

    async def add(self, file: File, quota: Quota | None, once: Once | None = None) -> File:
        """Add a file, whose bytes are already durable.

        Returns the given file, or the one that an equal `once` of the same project added before. Raises QuotaExceeded
        where the project would pass its quota (None: no quota), Conflict where the key of `once` was used for
        something else, or where another living file has the name.
        """
        ...

    async def require_room(self, project: ProjectId, quota: Quota, *, files: int, size: int, at: int) -> None:
        """Raise QuotaExceeded where so many more files and bytes would pass the quota. Promises nothing for later."""
        ...

    async def get(self, project: ProjectId, id: FileId, at: int) -> File | None: ...

    async def by_name(self, project: ProjectId, name: str, at: int) -> File | None:
        """The file that has a name of its own."""
        ...

    async def list(self, project: ProjectId, cursor: Cursor, at: int, purpose: str | None = None) -> Page[File] | None:
        """A page of a project's files, but inline ones; None where the cursor names nothing of this project."""
        ...

    async def delete(self, project: ProjectId, id: FileId, at: int) -> File | None:
        """The file, deleted now; None where there is none (any more). Its id keeps marking its place in lists."""
        ...

    async def expire(self, at: int) -> int:
        """Delete what has expired, of all projects; how many."""
        ...

    async def dead_blobs(self, limit: int) -> Sequence[str]:
        """Keys of blobs that nothing needs any more: of deleted files that no unended batch reads.

        They stay so for ever, so a blob named here can be removed at leisure, and then be forgotten.
        """
        ...

    async def forget_blobs(self, blobs: Sequence[str]) -> None:
        """The bytes are gone: name them as dead no more."""
        ...

    async def unknown_blobs(self, blobs: Sequence[str]) -> Sequence[str]:
        """Those of the given keys for which no file, deleted or not, no part and no resumable stands."""
        ...


class Uploads(Protocol):
    """Uploads and their parts."""

    async def add(self, upload: Upload, once: Once | None = None) -> Upload:
        """As `Files.add`, without quota: an upload takes room only through its parts."""
        ...

    async def get(self, project: ProjectId, id: UploadId) -> Upload | None:
        """The upload as it was written; see `Upload.seen_at` for what it is now."""
        ...

    async def add_part(self, project: ProjectId, part: Part, quota: Quota, max_parts: int, at: int) -> bool:
        """Add a part to a pending upload; False where the upload is not pending at `at`.

        Raises QuotaExceeded where the project's bytes would pass its quota, TooLarge where the upload has `max_parts`.
        """
        ...

    async def parts(self, upload: UploadId) -> Sequence[Part]:
        """All parts, named at completion or not, in the order in which they came."""
        ...

    async def complete(
        self, project: ProjectId, id: UploadId, part_ids: Sequence[PartId], file: File, quota: Quota, at: int
    ) -> Upload | None:
        """Complete a pending upload and add its file; None, and nothing added, where it is not pending at `at`.

        Raises QuotaExceeded as `Files.add` does; the upload's own parts do not count beside the file.
        """
        ...

    async def cancel(self, project: ProjectId, id: UploadId, at: int) -> Upload | None:
        """Cancel a pending upload; None where it is not pending at `at`."""
        ...

    async def expire(self, at: int) -> int:
        """Let pending uploads of all projects that are past their end expire; how many."""
        ...

    async def dead_parts(self, limit: int) -> Sequence[Part]:
        """Parts of uploads that are not pending: their bytes are needed no more."""
        ...

    async def forget_parts(self, ids: Sequence[PartId]) -> None:
        """The bytes are gone: forget the parts too."""
        ...


class Resumables(Protocol):
    """Files on their way as blobs that grow."""

    async def add(self, resumable: Resumable) -> None:
        """As `Uploads.add`: it takes room only as it grows."""
        ...

    async def by_secret(self, secret_hash: bytes) -> Resumable | None:
        """As it was written, of whatever project: its secret stands for a key. See `Resumable.seen_at`."""
        ...

    async def grow(
        self, project: ProjectId, id: ResumableId, before: int, received: int, quota: Quota, at: int
    ) -> bool:
        """Note how many bytes are safe. Compare and set: False where it is not pending at `at`, or had not `before`.

        Raises QuotaExceeded where the project's bytes would pass its quota.
        """
        ...

    async def complete(self, project: ProjectId, id: ResumableId, file: File, quota: Quota, at: int) -> bool:
        """Complete a pending resumable and add its file; False, and nothing added, where it is not pending at `at`.

        Raises QuotaExceeded and Conflict as `Files.add` does; what the resumable had received does not count beside
        the file.
        """
        ...

    async def cancel(self, project: ProjectId, id: ResumableId, at: int) -> Resumable | None:
        """Cancel a pending resumable; None where it is not pending at `at`."""
        ...

    async def expire(self, at: int) -> int:
        """Let pending ones of all projects past their end expire, and forget completed ones; how many expired."""
        ...

    async def dead(self, limit: int) -> Sequence[Resumable]:
        """Those that were cancelled or have expired: their bytes are needed no more."""
        ...

    async def forget(self, ids: Sequence[ResumableId]) -> None:
        """The bytes are gone: forget the resumables too."""
        ...


class Batches(Protocol):
    """Batches."""

    async def add(self, batch: Batch, event: Event, quota: Quota, once: Once | None = None) -> Batch:
        """Add a batch with its first event; see `Files.add` for what is returned and raised.

        In the same transaction the input is looked up: the stored batch has the `input_blob` of its living file, or
        None where the project has no such file, whatever was given. Of a batch that retries another it is that one's
        input; its error file is kept, too, until `gathered`.
        """
        ...

    async def get(self, project: ProjectId, id: BatchId) -> Batch | None:
        """A batch, deleted or not."""
        ...

    async def delete(self, project: ProjectId, id: BatchId, at: int) -> Batch | None:
        """The batch, deleted now: no list and no quota of batches has it any more. None where there is none (any more).

        One that has not ended is walked on to its end: who deletes it has cancelled it before.
        """
        ...

    async def describe(self, project: ProjectId, id: BatchId, display_name: str | None, priority: int) -> Batch | None:
        """The batch with another name and priority; None where there is none, or it has ended."""
        ...

    async def list(
        self,
        project: ProjectId,
        cursor: Cursor,
        where: BatchFilter = BatchFilter(),  # noqa: B008 - frozen
    ) -> Page[Batch] | None:
        """A page of a project's batches that are not deleted; None where the cursor names none of this project's."""
        ...

    async def unended(self) -> Sequence[Batch]:
        """Batches of all projects that are not in a terminal state, oldest first: the pipeline's work."""
        ...

    async def enqueued(self, project: ProjectId) -> int:
        """How many tokens a project's unended batches hold."""
        ...

    async def move(
        self,
        before: BatchState,
        batch: Batch,
        event: Event,
        files: Sequence[File] = (),
        room: TokenRoom = TokenRoom(),  # noqa: B008 - frozen
        spent: Sequence[Spent] = (),
    ) -> bool:
        """Write a batch that `Batch.move` brought from `before` to its state, with the event that says so.

        Compare and set: False, and nothing written, where the stored batch is no longer in the state `before`. Writes
        the state, its times, the model, the errors, the ids of the result files, the tokens it holds and its cost. The
        counts, which `count` writes and which may have grown meanwhile, are written with the end only: an end never
        stands beside counts that are not its own. `files` are the result files, added without quota in the same
        transaction, so that an end that is tried again leaves no files of the first try.

        A batch that ends holds no tokens any more, whatever is given. `spent` is added to the spending of its project,
        in the same transaction. Raises QuotaExceeded, and writes nothing, where its
        tokens do not fit beside those that others hold; ValueError for a move that is not in `MOVES`.
        """
        ...

    async def retried(self, id: BatchId) -> Retried | None:
        """What a batch has to be gathered from; None where it retries none, or has been gathered."""
        ...

    async def gathered(self, id: BatchId, file: File) -> bool:
        """Add a file, without quota, and make it the input of a batch that retries another.

        False, and nothing written, where the batch has been gathered or has ended.
        """
        ...

    async def count(self, id: BatchId, counts: Counts, usage: Usage) -> bool:
        """Write how far a batch got; False, and nothing written, where it has ended or there is none."""
        ...


class Spending(Protocol):
    """What projects have used, day by day. Rows of equal project, day, model, kind and currency are one."""

    async def add(self, spent: Sequence[Spent]) -> None:
        """Add to the rows, to all or none."""
        ...

    async def between(self, first: int, end: int, project: ProjectId | None = None) -> Sequence[Spent]:
        """Rows of the days from `first` to before `end`, by day, project and model; None: of all projects."""
        ...


class Events(Protocol):
    """What happened, in the order in which it became durable."""

    async def after(self, number: int, limit: int, project: ProjectId | None = None) -> Sequence[tuple[int, Event]]:
        """Events with their numbers, from the first after `number` on (0: from the beginning); None: of all projects.

        Numbers grow with time and are never used twice; a reader that has seen number n has missed none before n.
        """
        ...

    async def last(self) -> int:
        """The number of the newest event of all projects; 0 where there is none."""
        ...

    async def forget(self, before: int) -> int:
        """Forget what happened before a time; how many events."""
        ...


class Webhooks(Protocol):
    """Webhook endpoints, and the deliveries that are due to them.

    An event leaves one delivery for each endpoint of its project that wants its kind, in the transaction that writes
    the event. A deleted endpoint is unknown, and its deliveries are gone. A disabled one gets no new ones, and none of
    its own is due. Adding a batch adds its own hooks: they hear of that batch alone, instead of the endpoints of the
    batch's form, no other call knows them, and they are gone when their delivery is forgotten.
    """

    async def add(self, endpoint: WebhookEndpoint, most: int) -> None:
        """Raises QuotaExceeded where the project has `most` endpoints."""
        ...

    async def get(self, project: ProjectId, id: WebhookId) -> WebhookEndpoint | None: ...

    async def list(self, project: ProjectId, cursor: Cursor, form: Form | None = None) -> Page[WebhookEndpoint] | None:
        """A page of a project's endpoints of a form; None where the cursor names nothing of this project."""
        ...

    async def update(self, project: ProjectId, id: WebhookId, given: EndpointFields, at: int) -> WebhookEndpoint | None:
        """The endpoint with what is given; None where there is no such endpoint. See `WebhookEndpoint.changed`."""
        ...

    async def rotate(
        self, project: ProjectId, id: WebhookId, secret: str, at: int, *, keep_old: bool
    ) -> WebhookEndpoint | None:
        """The endpoint with a new secret; None where there is no such endpoint. See `WebhookEndpoint.rotated`."""
        ...

    async def delete(self, project: ProjectId, id: WebhookId, at: int) -> bool:
        """False where there is no such endpoint (any more). Its secrets are gone, its id keeps its place in lists."""
        ...

    async def due(self, at: int, each: int) -> Sequence[tuple[Delivery, WebhookEndpoint]]:
        """Pending deliveries of all projects that are due, the longest first; of each endpoint at most `each`."""
        ...

    async def write(self, delivery: Delivery) -> bool:
        """Write how far a delivery got; False, and nothing written, where it has ended or its endpoint is deleted."""
        ...

    async def forget(self, before: int) -> int:
        """Forget deliveries that ended before a time; how many."""
        ...


class Store(Protocol):
    """All facts of one server."""

    @property
    def projects(self) -> Projects: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def files(self) -> Files: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def resumables(self) -> Resumables: ...
    @property
    def batches(self) -> Batches: ...
    @property
    def events(self) -> Events: ...
    @property
    def spending(self) -> Spending: ...
    @property
    def webhooks(self) -> Webhooks: ...

    async def close(self) -> None:
        """Give the database back. May be called twice."""
        ...
