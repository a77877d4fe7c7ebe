"""Webhooks in Gemini's words: what is read, shown and sent."""

import json
from typing import Any

import pytest

from batchyard.dialects.gemini.unfit import Unfit
from batchyard.dialects.gemini.webhooks import (
    changed_fields,
    hooks_of,
    keeps_old,
    message,
    new_fields,
    webhook_object,
)
from batchyard.domain.batch import Batch, BatchState, Form
from batchyard.domain.event import EventId, arrival
from batchyard.domain.file import FileId
from batchyard.domain.hooks import Hooks
from batchyard.domain.line import LineError
from batchyard.domain.webhook import EndpointFields
from tests.support.tenants import START, a_batch, an_endpoint, changed

DEPTH = 16
HEX = "0123456789abcdef" * 2
DONE = (BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.COMPLETED)


def sent(*through: BatchState, **facts: Any) -> Any:
    """The body of the delivery of a batch's last move."""
    batch = a_batch(id=f"batch_{HEX}", form=Form.GEMINI)
    for state in through:
        batch = batch.move(state, START + 5)
    batch = changed(batch, **facts)
    return told(batch)


def told(batch: Batch) -> Any:
    event = arrival(EventId("evt_7"), batch)
    first, again = (message(event, batch, ["whsec_MTIz"], START + at) for at in (10, 99))
    assert first.body == again.body and first.headers["webhook-id"] == again.headers["webhook-id"] == "msg_7"
    return json.loads(first.body)


def test_a_finished_job_is_told_with_its_file() -> None:
    assert sent(*DONE, output_file_id=FileId("file-a")) == {
        "type": "batch.succeeded", "version": "v1", "timestamp": "2026-09-21T14:13:25Z",
        "data": {"id": f"batches/{HEX}", "output_file_uri": f"files/batch-{HEX}"},
    }  # fmt: skip


def test_an_inline_job_and_one_without_results_have_no_file() -> None:
    for facts in ({"inline": True, "output_file_id": FileId("file-a")}, {}):
        assert sent(*DONE, **facts)["data"] == {"id": f"batches/{HEX}"}


def test_the_file_of_another_wires_batch_goes_by_its_own_name() -> None:
    data = sent(*DONE, output_file_id=FileId("file-a1"), form=Form.OPENAI)["data"]
    assert data["output_file_uri"] == "files/a1"


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((LineError(number=17, code="x", message="No model."), LineError(number=18, code="x", message="?")),
         "line 17: No model. And 1 more."),
        ((LineError(number=0, code="x", message="The file is empty."),), "The file is empty."),
        ((), "The batch could not run."),
    ],
)  # fmt: skip
def test_a_failed_job_says_why(errors: tuple[LineError, ...], said: str) -> None:
    body = sent(BatchState.FAILED, errors=errors, error_count=len(errors))
    assert body["type"] == "batch.failed"
    assert body["data"] == {"id": f"batches/{HEX}", "error_code": 3, "error_message": said}


def test_metadata_is_said_again_as_it_was() -> None:
    metadata = {"a_b": {"cD": [1.5, "ü", None]}}
    assert sent(*DONE, hooks=Hooks(user_metadata=metadata))["user_metadata"] == metadata


def test_a_job_that_nobody_knows_any_more_is_told_by_its_name() -> None:
    batch = a_batch(id=f"batch_{HEX}").move(BatchState.CANCELLING, START).move(BatchState.CANCELLED, START)
    body = json.loads(message(arrival(EventId("evt_7"), batch), None, [], START).body)
    assert (body["type"], body["data"]) == ("batch.cancelled", {"id": f"batches/{HEX}"})


def test_secrets_are_shown_short_and_only_while_they_sign() -> None:
    endpoint = an_endpoint(id=f"we_{HEX}", name="").rotated("whsec_secondAAAA", START, keep_old=True)
    shown = webhook_object(endpoint, START)
    assert shown["signing_secrets"] == [
        {"truncated_secret": "whsec_...AAAA"},
        {"truncated_secret": f"whsec_...{endpoint.secrets[1].text[-4:]}", "expire_time": "2026-09-22T14:13:20Z"},
    ]
    assert "name" not in shown and "new_signing_secret" not in shown and shown["id"] == HEX
    assert len(webhook_object(endpoint, START + 86_400)["signing_secrets"]) == 1


def test_what_only_the_server_says_is_not_read() -> None:
    given = b'{"uri": "u", "subscribedEvents": ["batch.succeeded"], "id": "x", "state": "disabled", "createTime": 1}'
    assert new_fields(given, DEPTH) == EndpointFields(url="u", event_kinds=("batch.completed",))


def test_a_mask_says_what_changes() -> None:
    given = b'{"uri": "u", "name": "n", "state": "disabled"}'
    assert changed_fields(given, "state, uri", DEPTH) == EndpointFields(url="u", enabled=False)
    assert changed_fields(given, None, DEPTH) == EndpointFields(url="u", name="n", enabled=False)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"", True),
        (b"{}", True),
        (b'{"revocation_behavior": "revoke_previous_secrets_after_h24"}', True),
        (b'{"revocationBehavior": "REVOKE_PREVIOUS_SECRETS_IMMEDIATELY"}', False),
    ],
)
def test_an_old_secret_signs_on_for_a_day_unless_it_is_revoked_at_once(body: bytes, kept: bool) -> None:
    assert keeps_old(body, DEPTH) is kept


FIELD = "batch.webhookConfig"


def test_a_jobs_hooks_are_read_in_either_spelling() -> None:
    wanted = Hooks(uris=("https://a.example",), user_metadata={"a_b": {"c_d": 1}})
    for name in ("user_metadata", "userMetadata"):
        assert hooks_of({"uris": ["https://a.example"], name: {"a_b": {"c_d": 1}}}, FIELD) == wanted
    assert hooks_of({}, FIELD) == Hooks()


DEEP: Any = json.loads('{"a":' * 40 + "1" + "}" * 40)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], ""),
        ({"uri": []}, ".uri"),
        ({"uris": "https://a.example"}, ".uris"),
        ({"uris": [1]}, ".uris[0]"),
        ({"user_metadata": "x"}, ".userMetadata"),
        ({"user_metadata": DEEP}, ".userMetadata"),
    ],
)
def test_hooks_of_another_shape_are_refused_by_their_field(given: Any, field: str) -> None:
    with pytest.raises(Unfit) as caught:
        hooks_of(given, FIELD)
    assert caught.value.field == FIELD + field
