"""Deliveries as the official client verifies them. The client's own check is asked, not a copy of it."""

import base64
import hashlib
import hmac
import json
from types import SimpleNamespace

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from batchyard.dialects.openai.webhooks import endpoint_object, message, rotation_fields
from batchyard.domain.batch import BatchState
from batchyard.domain.errors import Invalid
from tests.support.tenants import START, a_batch, an_endpoint, an_event

SECRET = "whsec_" + base64.b64encode(b"24 bytes that are secret").decode()
OTHER = "whsec_" + base64.b64encode(b"another 24 bytes, secret").decode()
NOW = START + 100
EVENT = an_event(a_batch().move(BatchState.FAILED, START + 5))
CLIENT = OpenAI(api_key="none", _strict_response_validation=True)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks the system for the time."""
    monkeypatch.setattr("openai.lib._webhooks.time", SimpleNamespace(time=lambda: NOW))


def verify(headers: dict[str, str], body: bytes, secret: str = SECRET) -> None:
    CLIENT.webhooks.verify_signature(body, headers, secret=secret)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    sent = message(EVENT, [SECRET], 1_790_000_000)
    signed = f"{sent.headers['webhook-id']}.1790000000.".encode() + sent.body
    wanted = hmac.new(b"24 bytes that are secret", signed, hashlib.sha256).digest()
    assert sent.headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()


def test_the_official_client_reads_a_delivery() -> None:
    sent = message(EVENT, [SECRET], NOW)
    event = CLIENT.webhooks.unwrap(sent.body, sent.headers, secret=SECRET)
    assert event.type == "batch.failed" and event.data.id == EVENT.batch_id and event.created_at == EVENT.at
    assert json.loads(sent.body) == {
        "id": EVENT.id, "object": "event", "created_at": START + 5, "type": "batch.failed",
        "data": {"id": EVENT.batch_id},
    }  # fmt: skip


@pytest.mark.parametrize("age", [301, -301])
def test_the_official_client_refuses_what_is_old_or_from_the_future(age: int) -> None:
    sent = message(EVENT, [SECRET], NOW - age)
    with pytest.raises(InvalidWebhookSignatureError, match="too"):
        verify(sent.headers, sent.body)
    nearly = message(EVENT, [SECRET], NOW - age + (1 if age > 0 else -1))
    verify(nearly.headers, nearly.body)


def test_the_official_client_refuses_what_is_changed_or_anothers() -> None:
    sent = message(EVENT, [SECRET], NOW)
    verify(sent.headers, sent.body)
    with pytest.raises(InvalidWebhookSignatureError):
        verify(sent.headers, sent.body.replace(b"failed", b"faired"))
    with pytest.raises(InvalidWebhookSignatureError):
        verify(sent.headers, sent.body, OTHER)


def test_each_secret_signs() -> None:
    sent = message(EVENT, [OTHER, SECRET], NOW)
    verify(sent.headers, sent.body, SECRET)
    verify(sent.headers, sent.body, OTHER)


def test_a_secret_without_the_prefix_is_its_own_key() -> None:
    sent = message(EVENT, ["plain words"], NOW)
    verify(sent.headers, sent.body, "plain words")


def test_an_event_keeps_its_id_and_is_signed_anew() -> None:
    first, again, other = (message(EVENT, [SECRET], at) for at in (NOW, NOW + 1, NOW))
    assert first == other and first.body == again.body
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.headers["webhook-signature"] != again.headers["webhook-signature"]
    assert message(an_event(a_batch()), [SECRET], NOW).headers["webhook-id"] != first.headers["webhook-id"]


def test_an_endpoint_shows_its_secret_only_where_it_is_made() -> None:
    endpoint = an_endpoint()
    shown = endpoint_object(endpoint)
    assert (
        endpoint.secret not in json.dumps(shown) and shown["signing_secret_hint"] == f"whsec_...{endpoint.secret[-2:]}"
    )
    assert endpoint_object(endpoint, secret=True)["signing_secret"] == endpoint.secret


def test_a_rotation_without_a_body_keeps_nothing() -> None:
    assert rotation_fields(b"", 9) is False
    assert rotation_fields(b"{}", 9) is False
    assert rotation_fields(b'{"keep_old_secret_active_for_24_hours":true}', 9) is True
    with pytest.raises(Invalid):
        rotation_fields(b'{"keep_old_secret_active_for_24_hours":"yes"}', 9)
