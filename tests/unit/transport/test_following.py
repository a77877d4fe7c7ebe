"""A batch until its end: by events where there are some, otherwise by polling."""

import json

from batchyard.transport.api import Object
from batchyard.transport.following import LONGEST_SECONDS, follow
from tests.support.api_script import QUICK, Told, asking, hangs_up, refuses, says
from tests.support.web_server import Step, answers


def a_batch(status: str, done: int = 0) -> Object:
    return {"id": "b", "status": status, "request_counts": {"total": 9, "completed": done, "failed": 0}}


def stream(*batches: Object, first: int = 1) -> Step:
    """Events as a server writes them, with a comment and an event of another kind between them."""
    events = [
        f": \r\n\r\nid: {number}\nevent: batch.{batch['status']}\ndata: {json.dumps({'data': batch})}\n\n"
        for number, batch in enumerate(batches, first)
    ]
    return answers(200, "event: ready\ndata: {}\n\n".join(events).encode(), Content_Type="text/event-stream")


def followed(told: Told) -> tuple[list[tuple[str, int]], list[float]]:
    waited = list[float]()
    seen = list(follow(told.api, "b", lambda batch: batch["status"] == "completed", waited.append))
    return [(batch["status"], batch["request_counts"]["completed"]) for batch in seen], waited


def test_a_batch_that_has_ended_is_asked_for_once() -> None:
    with asking(says(a_batch("completed", 9))) as told:
        assert followed(told) == ([("completed", 9)], [])
    assert len(told.script.seen) == 1


def test_events_are_followed_to_the_end() -> None:
    events = stream(a_batch("in_progress", 1), a_batch("in_progress", 5), a_batch("completed", 9))
    with asking(says(a_batch("validating")), events) as told:
        seen, waited = followed(told)
    assert seen == [("validating", 0), ("in_progress", 1), ("in_progress", 5), ("completed", 9)] and not waited
    assert told.script.seen[1].path == "/v1/batches/b/events"
    assert told.script.seen[1].headers["accept"] == "text/event-stream"


def test_a_stream_that_breaks_goes_on_after_the_last_event() -> None:
    steps = (stream(a_batch("in_progress", 1)), hangs_up, stream(a_batch("completed", 9), first=2))
    with asking(says(a_batch("validating")), *steps) as told:
        assert followed(told)[0][-1] == ("completed", 9)
    assert [seen.headers.get("last-event-id") for seen in told.script.seen] == [None, None, "1", "1"]


def test_a_server_without_events_is_polled() -> None:
    still = [says(a_batch("in_progress", 1))] * 20
    steps = (refuses(404, "no such path", "unknown_url"), *still, says(a_batch("completed", 9)))
    with asking(says(a_batch("validating")), *steps) as told:
        seen, waited = followed(told)
    assert seen[-1] == ("completed", 9) and len(waited) == 21
    assert waited == sorted(waited) and waited[0] < 1 and waited[-1] == LONGEST_SECONDS


def test_a_batch_that_moves_is_asked_for_soon_again() -> None:
    steps = [says(a_batch("in_progress", done)) for done in range(9)]
    with asking(says(a_batch("validating")), refuses(404, "no"), *steps, says(a_batch("completed", 9))) as told:
        assert len(set(followed(told)[1])) == 1


def test_events_that_bring_nothing_new_give_way_to_polling() -> None:
    streams = [stream(a_batch("in_progress"))] * QUICK.tries
    with asking(says(a_batch("validating")), *streams, says(a_batch("completed", 9))) as told:
        seen, waited = followed(told)
    assert seen[-1] == ("completed", 9) and len(waited) == 1 and sum(told.waited) > 1
