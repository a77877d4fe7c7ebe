"""Which secrets sign when, and what a change moves."""

from batchyard.domain.batch import TERMINAL
from batchyard.domain.webhook import EVENT_KINDS, KEEP_SECONDS, MOST_SECRETS, EndpointFields, SigningSecret
from tests.support.tenants import START, an_endpoint, changed

LATER = START + 100


def test_the_kinds_of_events_are_the_ends_of_batches() -> None:
    assert sorted(EVENT_KINDS) == sorted(f"batch.{state}" for state in TERMINAL)


def test_a_rotated_secret_is_gone_at_once() -> None:
    after = an_endpoint().rotated("new", LATER, keep_old=False)
    assert after.signing(LATER) == ("new",) and after.secret == "new" and after.updated_at == LATER


def test_a_kept_secret_signs_for_a_day_beside_the_new_one() -> None:
    before = an_endpoint()
    after = before.rotated("new", LATER, keep_old=True)
    assert after.signing(LATER + KEEP_SECONDS - 1) == ("new", before.secret)
    assert after.signing(LATER + KEEP_SECONDS) == ("new",)


def test_each_kept_secret_has_its_own_day() -> None:
    before = an_endpoint()
    after = before.rotated("second", LATER, keep_old=True).rotated("third", LATER + 10, keep_old=True)
    assert after.signing(LATER + 20) == ("third", "second", before.secret)
    assert after.signing(LATER + KEEP_SECONDS) == ("third", "second")
    assert after.rotated("fourth", LATER + 30, keep_old=False).signing(LATER + 30) == ("fourth",)


def test_only_so_many_secrets_sign() -> None:
    endpoint = an_endpoint()
    for number in range(10):
        endpoint = endpoint.rotated(str(number), LATER, keep_old=True)
    assert endpoint.signing(LATER) == ("9", "8", "7", "6") and len(endpoint.secrets) == MOST_SECRETS


def test_a_change_that_changes_nothing_moves_no_time() -> None:
    before = an_endpoint()
    assert before.changed(EndpointFields(), LATER) == before
    assert before.changed(EndpointFields(name=before.name), LATER) == before
    url = "https://other.example"
    assert before.changed(EndpointFields(url=url), LATER) == changed(before, url=url, updated_at=LATER)


def test_a_secret_does_not_show_itself() -> None:
    endpoint = an_endpoint(secrets=(SigningSecret("whsec_hush", 5),))
    assert "hush" not in f"{endpoint} {endpoint!r} {endpoint.secrets}" and "until=5" in repr(endpoint)
