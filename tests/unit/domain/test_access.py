"""What each role may do, and when a key works."""

import pytest

from batchyard.domain.access import HOME, MAY, Action, Caller, ProjectId, Role
from tests.support.tenants import START, a_key


@pytest.mark.parametrize(
    ("role", "actions"),
    [
        (Role.VIEWER, {Action.VIEW_FILES, Action.VIEW_BATCHES, Action.VIEW_WEBHOOKS, Action.VIEW_COSTS}),
        (Role.DATASETS_EDITOR, {Action.VIEW_FILES, Action.EDIT_FILES}),
        (Role.EDITOR, set(Action) - {Action.EDIT_KEYS}),
        (Role.ADMIN, set(Action)),
    ],
)
def test_a_role_may_do_what_the_table_says(role: Role, actions: set[Action]) -> None:
    caller = Caller(HOME, role)
    assert {action for action in Action if caller.may(action)} == actions


def test_every_role_has_its_row() -> None:
    assert MAY.keys() == set(Role)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("project", [HOME, ProjectId("proj_other")])
def test_only_administrators_of_the_home_project_are_operators(role: Role, project: ProjectId) -> None:
    assert Caller(project, role).operator == (role is Role.ADMIN and project == HOME)


def test_a_key_works_until_it_expires_or_is_revoked() -> None:
    assert a_key().works(START + 10**9)
    assert a_key(expires_at=START + 10).works(START + 9)
    assert not a_key(expires_at=START + 10).works(START + 10)
    assert not a_key(revoked_at=START).works(START)
