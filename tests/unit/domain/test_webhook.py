"""Which secrets sign when, and what a change moves."""

from batchyard.domain.batch import TERMINAL, Form
from batchyard.domain.hooks import Hooks
from batchyard.domain.webhook import EVENT_KINDS, KEEP_SECONDS, MOST_SECRETS, EndpointFields, SigningSecret, hooks_of
from tests.support.tenants import START, THEIRS, a_batch, an_endpoint, changed

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


def test_a_batch_brings_an_endpoint_for_each_of_its_uris() -> None:
    batch = a_batch(hooks=Hooks(uris=("https://a.example", "https://b.example")), form=Form.GEMINI)
    hooks = hooks_of(batch)
    assert [each.url for each in hooks] == ["https://a.example", "https://b.example"]
    assert len({each.id for each in hooks}) == 2
    assert {(each.only_batch, each.form, each.event_kinds, each.secrets) for each in hooks} == {
        (batch.id, Form.GEMINI, EVENT_KINDS, ())
    }
    assert hooks_of(a_batch()) == hooks_of(a_batch(hooks=Hooks(user_metadata={}))) == ()


def test_hooks_of_many_batches_share_the_room_of_a_receiver_within_their_project() -> None:
    hooks = Hooks(uris=("https://a.example",))
    (one,), (two,), (theirs,) = (hooks_of(a_batch(hooks=hooks, **who)) for who in ({}, {}, {"project": THEIRS}))
    assert one.receiver == two.receiver != theirs.receiver
    assert an_endpoint().receiver != an_endpoint().receiver
