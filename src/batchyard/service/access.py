"""Who may ask: keys, the projects that they belong to, and what their roles allow.

A secret is 256 random bits, shown once and kept only as its SHA-256. A slow password hash would buy nothing: it slows
down guessing, and 2^256 values cannot be guessed at any speed, while every single call pays for it.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Sequence

from batchyard.clock import Clock
from batchyard.domain.access import HOME, Action, Caller, Key, KeyId, Project, ProjectId, Role
from batchyard.domain.errors import BatchyardError, Conflict, Forbidden, Invalid, NotFound, Unauthorized
from batchyard.service.ids import PREFIX_LENGTH, Ids
from batchyard.store import Store

OPERATOR = Caller(HOME, Role.ADMIN)
"""Whoever runs the server."""

_log = logging.getLogger(__name__)

KNOWN_SECONDS = 1.0
"""A key that was looked up is taken as it was for so long: another process that revokes it is heard of then. What this
process does to keys counts at once."""
_MOST_KNOWN = 1000
NOTE_SECONDS = 5.0
_TOUCH_SECONDS = 60
"""The last use of a key is written at most this often: a write per call would cost a sync per call."""
_NO_HASH = hashlib.sha256(b"").digest()
_MAX_NAME = 200


def require(caller: Caller, action: Action) -> None:
    """Raise Forbidden where the caller's role does not allow an action. Asked before anything is looked up."""
    if not caller.may(action):
        raise Forbidden(
            f"This API key has the role '{caller.role}', which may not {action.value}.",
            remedy="Use a key with another role.",
        )


class Access:
    """Keys and projects. Only administrators manage keys: their own project's, and the home project's all.

    Without `keys` whoever asks is the operator, whatever secret they bear.
    """

    def __init__(self, store: Store, clock: Clock, ids: Ids, *, keys: bool = True) -> None:
        self.keys = keys
        self._store = store
        self._clock = clock
        self._ids = ids
        self._known: dict[str, tuple[Key, float]] = {}
        self._changes = 0
        self._used: dict[KeyId, int] = {}

    async def authenticate(self, secret: str | None) -> Caller:
        """Who bears a secret. Raises Unauthorized where nobody does; unknown, revoked and expired look the same."""
        if not self.keys:
            return OPERATOR
        if not secret:
            raise Unauthorized(
                "You did not provide an API key.",
                remedy="Send it as 'Authorization: Bearer <key>' or 'api-key: <key>'.",
            )
        at = self._now()
        key = await self._key_of(secret[:PREFIX_LENGTH]) if secret.isascii() else None
        same = hmac.compare_digest(_hash(secret), key.hash if key else _NO_HASH)
        if key is None or not same or not key.works(at):
            raise Unauthorized("Incorrect API key provided.", remedy="Check the key.", reason="invalid_api_key")
        if key.last_used_at is None or at - key.last_used_at >= _TOUCH_SECONDS:
            self._used[key.id] = at
        return Caller(key.project, key.role, key.id)

    async def bearer(self, project: ProjectId, key: KeyId | None) -> Caller:
        """On whose behalf a key may act that is not at hand, but began what is gone on with: as it is now.

        Raises Unauthorized where it opens nothing any more, or there was none and calls need one by now.
        """
        if key is None and not self.keys:
            return OPERATOR
        found = None if key is None else await self._store.keys.get(project, key)
        if found is None or not found.works(self._now()):
            raise Unauthorized(
                "The API key that this was begun with is not valid any more.", remedy="Begin again with another key."
            )
        return Caller(project, found.role, found.id)

    async def keep_notes(self) -> None:
        """Write down now and then which keys were used, until cancelled: no call waits for that."""
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            try:
                await self.note_uses()
            except BatchyardError as error:
                _log.warning("key_uses_not_noted", extra={"reason": str(error)})

    async def note_uses(self) -> None:
        """Write down which keys were used since the last time."""
        while self._used:
            id, at = next(iter(self._used.items()))
            await self._store.keys.touch(id, at)
            if self._used.get(id) == at:
                del self._used[id]

    async def _key_of(self, prefix: str) -> Key | None:
        now = self._clock.now()
        known = self._known.get(prefix)
        if known is not None and 0 <= now - known[1] < KNOWN_SECONDS:
            return known[0]
        changes = self._changes
        key = await self._store.keys.by_prefix(prefix)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        if key is not None and changes == self._changes:
            self._known[prefix] = key, now
        return key

    def _forget_known(self) -> None:
        """A key has changed."""
        self._known.clear()
        self._changes += 1

    async def first_admin_key(self) -> tuple[Key, str] | None:
        """The home project and its first key, with its secret; None where there are keys already."""
        key, secret = self._new_key(HOME, "first", Role.ADMIN, None)
        return (key, secret) if await self._store.keys.found(self._home(), key) else None

    async def create_project(self, caller: Caller, name: str) -> Project:
        """A new, empty tenant. Raises Conflict where the name is taken."""
        _require_operator(caller)
        project = Project(id=self._ids.project(), name=_checked(name), created_at=self._now())
        await self._store.projects.add(project)
        return project

    async def list_projects(self, caller: Caller) -> Sequence[Project]:
        """All projects, for the operator; for anyone else their own."""
        if caller.operator:
            return await self._store.projects.list()
        own = await self._store.projects.get(caller.project)
        return [own] if own else []

    async def create_key(
        self, caller: Caller, name: str, role: Role, *, project: ProjectId | None = None, expires_at: int | None = None
    ) -> tuple[Key, str]:
        """A new key and its secret, which is never shown again. The operator's first key brings the home project."""
        project = await self._project(caller, project)
        if expires_at is not None and expires_at <= self._now():
            raise Invalid("A key must expire in the future.", param="expires_at", reason="invalid_value")
        key, secret = self._new_key(project, _checked(name), role, expires_at)
        if caller != OPERATOR or project != HOME or not await self._store.keys.found(self._home(), key):
            await self._store.keys.add(key)
        return key, secret

    async def list_keys(self, caller: Caller, *, project: ProjectId | None = None) -> Sequence[Key]:
        """All keys of a project, revoked ones too."""
        return await self._store.keys.list(await self._project(caller, project))

    async def revoke_key(self, caller: Caller, id: KeyId, *, project: ProjectId | None = None) -> Key:
        """End a key at once. Twice equals once."""
        key = await self._store.keys.revoke(await self._project(caller, project), id, self._now())
        self._forget_known()
        if key is None:
            raise _no_key(id)
        return key

    async def rotate_key(
        self, caller: Caller, id: KeyId, *, project: ProjectId | None = None, grace_seconds: int = 86_400
    ) -> tuple[Key, str]:
        """A new key like an old one, which works for `grace_seconds` more. Raises Conflict where the old is revoked."""
        project = await self._project(caller, project)
        old = await self._store.keys.get(project, id)
        if old is None:
            raise _no_key(id)
        if grace_seconds < 0:
            raise Invalid("The time that the old key still works is 0 or more.", param="grace_seconds")
        expires_at = _same_lifetime(old, self._now())
        new, secret = self._new_key(project, old.name, old.role, expires_at)
        rotated = await self._store.keys.rotate(id, new, self._now() + grace_seconds)
        self._forget_known()
        if not rotated:
            raise Conflict("This key is revoked.", remedy="Create a new one.")
        return new, secret

    def _home(self) -> Project:
        return Project(id=HOME, name="home", created_at=self._now())

    def _new_key(self, project: ProjectId, name: str, role: Role, expires_at: int | None) -> tuple[Key, str]:
        secret = self._ids.secret()
        key = Key(
            id=self._ids.key(),
            project=project,
            name=name,
            role=role,
            prefix=secret[:PREFIX_LENGTH],
            hash=_hash(secret),
            created_at=self._now(),
            expires_at=expires_at,
        )
        return key, secret

    async def _project(self, caller: Caller, named: ProjectId | None) -> ProjectId:
        """The project whose keys a caller may manage. For all but the operator others do not exist."""
        require(caller, Action.EDIT_KEYS)
        if named is None or named == caller.project:
            return caller.project
        if not caller.operator or await self._store.projects.get(named) is None:
            raise NotFound(f"No such project: {named}", param="project")
        return named

    def _now(self) -> int:
        return int(self._clock.now())


def _require_operator(caller: Caller) -> None:
    require(caller, Action.EDIT_KEYS)
    if not caller.operator:
        raise Forbidden("Only administrators of the home project manage projects.", remedy="Ask one of them.")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _same_lifetime(key: Key, at: int) -> int | None:
    return None if key.expires_at is None else at + key.expires_at - key.created_at


def _checked(name: str) -> str:
    if not name.strip() or len(name) > _MAX_NAME:
        raise Invalid(f"A name has 1 to {_MAX_NAME} characters.", param="name", reason="invalid_value")
    return name.strip()


def _no_key(id: KeyId) -> NotFound:
    return NotFound(f"No such key: {id}", param="id")
