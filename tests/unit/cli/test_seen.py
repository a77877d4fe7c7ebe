"""Batches of many servers, as people see them."""

from typing import Any

import pytest

from batchyard.cli.seen import End, end_of, errors_of, facts_of, lines_of


@pytest.mark.parametrize(
    ("batch", "end"),
    [
        ({"status": "validating"}, None),
        ({"status": "in_progress", "request_counts": None}, None),
        ({"status": "cancelling", "cancelling_at": 5}, None),
        ({}, None),
        ({"status": "a new word"}, None),
        ({"status": "completed", "request_counts": {"total": 2, "completed": 2, "failed": 0}}, End.ANSWERED),
        ({"status": "completed", "request_counts": {"total": 2, "completed": 1, "failed": 1}}, End.FAILED_LINES),
        ({"status": "done"}, End.ANSWERED),
        ({"status": "COMPLETED"}, End.ANSWERED),
        ({"status": "a new word", "completed_at": 5}, End.ANSWERED),
        ({"status": "a new word", "failed_at": 5}, End.FAILED),
        ({"status": "expired", "completed_at": 5}, End.EXPIRED),
        ({"status": "canceled"}, End.CANCELLED),
        ({"status": "cancelled"}, End.CANCELLED),
        ({"status": "failed"}, End.FAILED),
    ],
)
def test_the_end_is_seen_in_every_servers_words(batch: dict[str, Any], end: End | None) -> None:
    assert end_of(batch) is end


def test_lines_are_counted_where_the_server_counts() -> None:
    assert lines_of({"request_counts": {"total": 1_200, "completed": 1_000, "failed": 3}}) == "1,003/1,200, 3 failed"
    assert lines_of({"request_counts": {"total": 5, "completed": 1}}) == "1/5"
    assert lines_of({}) == lines_of({"request_counts": {"total": 0}}) == ""


def test_errors_are_told_a_line_each() -> None:
    data = [{"message": "bad", "line": 7, "param": "body.model"}, {"code": "empty_file", "line": None}]
    assert errors_of({"errors": {"data": data}}) == ["line 7: body.model: bad", "empty_file"]
    assert errors_of({}) == errors_of({"errors": None}) == []


def test_a_batch_with_nothing_in_it_can_be_shown() -> None:
    assert {name for name, fact in facts_of({"id": "b"}).items() if fact} == {"id", "status"}
