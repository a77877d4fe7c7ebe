"""Who asks, with which secret, and what they may do."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NewType

from msgspec import Struct, field

ProjectId = NewType("ProjectId", str)
KeyId = NewType("KeyId", str)

HOME = ProjectId("proj_home")
"""The project of whoever runs the server; only its administrators reach beyond their own project, and only to its
keys and quota, never to files and batches."""


class Role(StrEnum):
    """What a key may do in its project."""

    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"
    DATASETS_EDITOR = "datasets-editor"


class Action(StrEnum):
    """What a call does, as far as rights go."""

    VIEW_FILES = "view files"
    EDIT_FILES = "change files"
    VIEW_BATCHES = "view batches"
    RUN_BATCHES = "run batches"
    USE_MODELS = "use models"
    VIEW_WEBHOOKS = "view webhooks"
    EDIT_WEBHOOKS = "manage webhooks"
    EDIT_KEYS = "manage keys"
    VIEW_COSTS = "view costs"


_VIEW = frozenset({Action.VIEW_FILES, Action.VIEW_BATCHES, Action.VIEW_WEBHOOKS, Action.VIEW_COSTS})
_RUN = _VIEW | {Action.EDIT_FILES, Action.RUN_BATCHES, Action.USE_MODELS, Action.EDIT_WEBHOOKS}

MAY: Mapping[Role, frozenset[Action]] = {
    Role.VIEWER: _VIEW,
    Role.DATASETS_EDITOR: frozenset({Action.VIEW_FILES, Action.EDIT_FILES}),
    Role.EDITOR: _RUN,
    Role.ADMIN: _RUN | {Action.EDIT_KEYS},
}
"""What each role may do, within its own project: the only place that says so."""

LOWEST_PRIORITY = -100
HIGHEST_PRIORITY: Mapping[Role, int] = {Role.EDITOR: 50, Role.ADMIN: 100}
"""How far up a role may put a batch among those of its project: an administrator can always go before the others."""


class Project(Struct, frozen=True, kw_only=True):
    """A tenant: files, batches and keys belong to exactly one, and none sees another's."""

    id: ProjectId
    name: str
    created_at: int


class Key(Struct, frozen=True, kw_only=True):
    """A secret that lets its bearer act in a project. The secret itself is not kept, only its hash.

    `prefix` is the secret's public beginning: it finds the key and is shown to people. `hash` is the SHA-256 of the
    whole secret. `last_used_at` is right to about a minute.
    """

    id: KeyId
    project: ProjectId
    name: str
    role: Role
    prefix: str
    hash: bytes
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    def works(self, at: int) -> bool:
        """Whether the key opens anything at a time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


class Caller(Struct, frozen=True):
    """On whose behalf a call is made. `key_id` is None for the server's own command line."""

    project: ProjectId
    role: Role
    key_id: KeyId | None = None

    def may(self, action: Action) -> bool:
        return action in MAY[self.role]

    @property
    def operator(self) -> bool:
        """Whether this caller may manage projects, and the keys of all of them."""
        return self.role is Role.ADMIN and self.project == HOME


class ModelLimits(Struct, frozen=True, kw_only=True):
    """How much a project may ask of one model; None: as much as it likes.

    The first two bound calls that people wait for, `enqueued_tokens` what batches that have not ended may hold.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    enqueued_tokens: int | None = None


NO_LIMITS = ModelLimits()


class Quota(Struct, frozen=True, kw_only=True):
    """How much a project may keep and ask for.

    `files` counts what callers uploaded, not results; `total_bytes` counts both, and the parts of unfinished uploads.
    `batches` counts those that have not ended, `enqueued_tokens` what those hold together, whatever their model (None:
    no bound). `models` has the project's own limits of models, in place of those that a model has for everyone.
    `highest_priority` bounds what its batches may be given.
    """

    files: int = 500
    file_bytes: int = 10_000_000_000
    total_bytes: int = 2_500_000_000_000
    batches: int = 500
    requests_per_file: int = 5_000_000
    enqueued_tokens: int | None = None
    models: Mapping[str, ModelLimits] = field(default_factory=dict[str, ModelLimits])
    highest_priority: int = 100

    def limits(self, model: str, otherwise: ModelLimits) -> ModelLimits:
        """What the project may ask of a model, which allows everyone `otherwise`."""
        return self.models.get(model, otherwise)
