"""Who is let in, as whom, and who may change that."""

import hashlib
import hmac
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from batchyard.domain.access import HOME, Action, Caller, Key, KeyId, ProjectId, Role
from batchyard.domain.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from batchyard.service.access import require
from tests.support.house import House, open_house
from tests.support.tenants import OURS, START, THEIRS, THEM, US

OPERATOR = Caller(HOME, Role.ADMIN)


@pytest.fixture
async def house() -> House:
    house = await open_house()
    await house.access.first_admin_key()
    return house


async def refused(house: House, secret: str | None) -> Unauthorized:
    with pytest.raises(Unauthorized) as told:
        await house.access.authenticate(secret)
    return told.value


async def test_the_first_key_is_made_once_and_lets_its_bearer_do_everything() -> None:
    house = await open_house()
    made = await house.access.first_admin_key()
    assert made is not None
    key, secret = made
    assert await house.access.authenticate(secret) == Caller(HOME, Role.ADMIN, key.id)
    assert await house.access.first_admin_key() is None


async def test_a_secret_is_not_kept(house: House) -> None:
    key, secret = await house.access.create_key(US, "ci", Role.EDITOR)
    assert key.hash == hashlib.sha256(secret.encode()).digest()
    assert secret.startswith(key.prefix)
    assert len(secret) - len(key.prefix) >= 256 / 6
    assert await house.store.keys.get(OURS, key.id) == key
    assert secret not in repr(key)


async def test_secrets_and_ids_differ(house: House) -> None:
    made = [await house.access.create_key(US, "ci", Role.EDITOR) for _ in range(50)]
    assert len({secret for _, secret in made}) == len({key.id for key, _ in made}) == 50


async def test_no_secret_is_another_refusal_than_a_wrong_one(house: House) -> None:
    _, secret = await house.access.create_key(US, "ci", Role.EDITOR)
    for nothing in (None, ""):
        assert (await refused(house, nothing)).reason is None
    wrong = ["x", "by-", secret[:-1], secret + "x", secret[:-1] + ("a" if secret[-1] != "a" else "b"), "ключ", "\ud800"]
    for each in wrong:
        assert (await refused(house, each)).reason == "invalid_api_key"


async def test_unknown_revoked_and_expired_keys_are_refused_alike(house: House) -> None:
    revoked, revoked_secret = await house.access.create_key(US, "a", Role.EDITOR)
    await house.access.revoke_key(US, revoked.id)
    _, expired_secret = await house.access.create_key(US, "b", Role.EDITOR, expires_at=START + 10)
    house.clock.time += 10
    told = {str(await refused(house, secret)) for secret in ("by-unknown-secret", revoked_secret, expired_secret)}
    assert len(told) == 1


async def test_the_whole_secret_is_compared_in_constant_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not there is compared too, so that the time does not tell."""
    compared = list[tuple[bytes, bytes]]()
    real: Callable[[bytes, bytes], bool] = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr("batchyard.service.access.hmac.compare_digest", compare)
    key, secret = await house.access.create_key(US, "ci", Role.EDITOR)
    await house.access.authenticate(secret)
    await refused(house, "by-unknown-secret")
    assert [b == key.hash for _, b in compared] == [True, False]


async def test_the_last_use_is_noted_but_not_at_every_call(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = await house.access.create_key(US, "ci", Role.EDITOR)
    seen = list[int | None]()
    for seconds in (0, 59, 1):
        house.clock.time += seconds
        await house.access.authenticate(secret)
        await house.access.note_uses()
        found = await house.store.keys.get(OURS, key.id)
        seen.append(found.last_used_at if found else None)
    assert seen == [START, START, START + 60]


async def test_no_call_waits_for_the_note_of_its_keys_use(house: House) -> None:
    key, secret = await house.access.create_key(US, "ci", Role.EDITOR)
    await house.access.authenticate(secret)
    found = await house.store.keys.get(OURS, key.id)
    assert found is not None and found.last_used_at is None


async def test_a_key_revoked_here_ends_at_once_and_one_revoked_elsewhere_within_a_second(house: House) -> None:
    here, first = await house.access.create_key(US, "here", Role.EDITOR)
    elsewhere, second = await house.access.create_key(US, "elsewhere", Role.EDITOR)
    for secret in (first, second):
        await house.access.authenticate(secret)
    await house.access.revoke_key(US, here.id)
    await refused(house, first)
    await house.access.authenticate(second)
    await house.store.keys.revoke(OURS, elsewhere.id, START)
    house.clock.time += 1
    await refused(house, second)


async def test_a_rotated_key_works_on_for_a_while(house: House) -> None:
    old, old_secret = await house.access.create_key(US, "ci", Role.VIEWER, expires_at=START + 1_000_000)
    house.clock.time += 100
    new, new_secret = await house.access.rotate_key(US, old.id, grace_seconds=60)
    assert (new.name, new.role, new.expires_at) == ("ci", Role.VIEWER, START + 1_000_100)
    assert (await house.access.authenticate(old_secret)).key_id == old.id
    house.clock.time += 60
    await refused(house, old_secret)
    assert await house.access.authenticate(new_secret) == Caller(OURS, Role.VIEWER, new.id)


async def test_a_revoked_key_is_not_rotated(house: House) -> None:
    key, _ = await house.access.create_key(US, "ci", Role.EDITOR)
    await house.access.revoke_key(US, key.id)
    with pytest.raises(Conflict):
        await house.access.rotate_key(US, key.id)
    with pytest.raises(NotFound):
        await house.access.rotate_key(US, KeyId("key_no"))


async def test_revoking_twice_is_revoking_once(house: House) -> None:
    key, _ = await house.access.create_key(US, "ci", Role.EDITOR)
    first = await house.access.revoke_key(US, key.id)
    house.clock.time += 5
    assert await house.access.revoke_key(US, key.id) == first


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
async def test_a_key_and_a_project_have_names(house: House, name: str) -> None:
    with pytest.raises(Invalid):
        await house.access.create_key(US, name, Role.EDITOR)
    with pytest.raises(Invalid):
        await house.access.create_project(OPERATOR, name)


async def test_a_key_expires_in_the_future(house: House) -> None:
    with pytest.raises(Invalid):
        await house.access.create_key(US, "ci", Role.EDITOR, expires_at=START)


KeyCall = Callable[[House, Caller, ProjectId | None], Coroutine[Any, Any, object]]
KEY_CALLS: dict[str, KeyCall] = {
    "create": lambda house, caller, project: house.access.create_key(caller, "x", Role.VIEWER, project=project),
    "list": lambda house, caller, project: house.access.list_keys(caller, project=project),
    "revoke": lambda house, caller, project: house.access.revoke_key(caller, KeyId("key_no"), project=project),
    "rotate": lambda house, caller, project: house.access.rotate_key(caller, KeyId("key_no"), project=project),
}


@pytest.mark.parametrize("name", KEY_CALLS)
@pytest.mark.parametrize("role", set(Role) - {Role.ADMIN}, ids=str)
async def test_only_administrators_manage_keys(house: House, name: str, role: Role) -> None:
    with pytest.raises(Forbidden):
        await KEY_CALLS[name](house, Caller(OURS, role), None)


@pytest.mark.parametrize("name", KEY_CALLS)
async def test_another_projects_keys_do_not_exist(house: House, name: str) -> None:
    told = list[str]()
    for project in (THEIRS, ProjectId("proj_no")):
        with pytest.raises(NotFound) as caught:
            await KEY_CALLS[name](house, US, project)
        told.append(str(caught.value).replace(project, "?"))
    assert told[0] == told[1]


async def test_the_operator_manages_every_projects_keys(house: House) -> None:
    project = await house.access.create_project(OPERATOR, "search")
    key, secret = await house.access.create_key(OPERATOR, "ci", Role.ADMIN, project=project.id)
    assert await house.access.authenticate(secret) == Caller(project.id, Role.ADMIN, key.id)
    assert list(await house.access.list_keys(OPERATOR, project=project.id)) != []
    await house.access.revoke_key(OPERATOR, key.id, project=project.id)
    await refused(house, secret)
    with pytest.raises(NotFound):
        await house.access.create_key(OPERATOR, "ci", Role.ADMIN, project=ProjectId("proj_no"))


async def test_only_the_operator_makes_and_sees_projects(house: House) -> None:
    with pytest.raises(Forbidden):
        await house.access.create_project(US, "mine")
    with pytest.raises(Forbidden):
        await house.access.create_project(Caller(HOME, Role.EDITOR), "mine")
    assert [project.id for project in await house.access.list_projects(OPERATOR)] == [OURS, THEIRS, HOME]
    assert [project.id for project in await house.access.list_projects(THEM)] == [THEIRS]


async def test_keys_of_a_project_are_listed_revoked_ones_too(house: House) -> None:
    keys = [(await house.access.create_key(US, name, Role.EDITOR))[0] for name in "ab"]
    revoked: Key = await house.access.revoke_key(US, keys[0].id)
    assert list(await house.access.list_keys(US)) == [revoked, keys[1]]


def test_a_role_that_may_not_is_refused_with_a_remedy() -> None:
    require(Caller(OURS, Role.VIEWER), Action.VIEW_FILES)
    with pytest.raises(Forbidden) as told:
        require(Caller(OURS, Role.VIEWER), Action.EDIT_FILES)
    assert "viewer" in told.value.message
    assert told.value.remedy
