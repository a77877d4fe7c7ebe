"""Uploads: a form that servers can read, parts that are sent again, and nothing half."""

import hashlib
import json
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest

from batchyard.transport.api import ApiError
from batchyard.transport.sending import send_file, send_parts
from tests.support.api_script import asking, hangs_up, refuses, says
from tests.support.web_server import Seen

BODY = b'{"custom_id": "\xc3\xa9"}\n' * 50_000


def form(seen: Seen) -> dict[str, Any]:
    """The fields of a form, by name; of a file its bytes."""
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + seen.body).iter_parts()
    return {part.get_param("name", header="content-disposition"): part for part in parts}  # pyright: ignore


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "in.jsonl").write_bytes(BODY)
    return str(tmp_path / "in.jsonl")


def test_a_file_is_one_form_with_its_purpose_before_its_bytes(path: str) -> None:
    moved = list[tuple[int, int]]()
    with asking(says({"id": "file-1"})) as told:
        file = send_file(
            told.api, path, 'a "b"\n.jsonl', "batch", lambda done, total: moved.append((done, total)), "key"
        )
    (seen,) = told.script.seen
    fields = form(seen)
    assert file == {"id": "file-1"} and list(fields) == ["purpose", "file"]
    assert fields["purpose"].get_payload() == "batch" and fields["file"].get_payload(decode=True) == BODY
    assert fields["file"].get_filename() == "a %22b%22%0A.jsonl"
    assert (seen.headers["idempotency-key"], seen.headers["content-length"]) == ("key", str(len(seen.body)))
    assert moved[-1] == (len(BODY), len(BODY)) and len(moved) > 3


def test_a_file_is_sent_again_whole(path: str) -> None:
    with asking(hangs_up, refuses(503, "later"), says({"id": "file-1"})) as told:
        send_file(told.api, path, "in.jsonl", "batch", lambda done, total: None)
    assert [form(seen)["file"].get_payload(decode=True) == BODY for seen in told.script.seen] == [True] * 3


def test_a_file_that_shrinks_meanwhile_is_not_sent_as_if_it_were_whole(path: str) -> None:
    def shrink(done: int, total: int) -> None:
        Path(path).write_bytes(b"")

    with asking(says({})) as told, pytest.raises(ApiError, match="became shorter"):
        send_file(told.api, path, "in.jsonl", "batch", shrink)


def test_parts_go_one_by_one_and_each_again_where_it_breaks(path: str) -> None:
    done = {"id": "upload_1", "file": {"id": "file-1"}}
    steps = (says({"id": "upload_1"}), says({"id": "p1"}), hangs_up, says({"id": "p2"}), says({"id": "p3"}), says(done))
    size = len(BODY) // 3 + 1
    with asking(*steps) as told:
        file = send_parts(told.api, path, "in.jsonl", "batch", lambda done, total: None, "key", part_bytes=size)
    assert file == {"id": "file-1"}
    first, *parts, last = told.script.seen
    assert json.loads(first.body) == {
        "filename": "in.jsonl", "purpose": "batch", "bytes": len(BODY), "mime_type": "application/jsonl",
    }  # fmt: skip
    assert {seen.path for seen in parts} == {"/v1/uploads/upload_1/parts"} and len(parts) == 4
    sent = [form(seen)["data"].get_payload(decode=True) for seen in parts]
    assert sent[1] == sent[2] and b"".join([sent[0], *sent[2:]]) == BODY
    assert last.path == "/v1/uploads/upload_1/complete"
    assert json.loads(last.body) == {"part_ids": ["p1", "p2", "p3"], "md5": hashlib.md5(BODY).hexdigest()}
