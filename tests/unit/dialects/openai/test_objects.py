"""The objects of the wire."""

import msgspec
import pytest
from openai.types import Batch as WireBatch
from openai.types import FileObject, Upload
from openai.types.uploads import UploadPart

from batchyard.dialects.openai.objects import SHOWN_ERRORS, batch_object, file_object, page, part_object, upload_object
from batchyard.domain import upload as uploads
from batchyard.domain.access import HOME
from batchyard.domain.batch import Batch, BatchId, BatchState, Counts, Form
from batchyard.domain.file import File, FileId
from batchyard.domain.line import LineError
from batchyard.domain.result import Usage

FILE = File(
    id=FileId("file-1"), project=HOME, filename="a.jsonl", purpose="batch", bytes=3, created_at=5, sha256="", blob="b"
)
BATCH = Batch(
    id=BatchId("batch_1"), project=HOME, endpoint="/v1/embeddings", input_file_id=FileId("file-1"),
    completion_window="24h", window_seconds=86400, output_expires_after_seconds=1, created_at=5, expires_at=86405,
    deadline_at=86405,
)  # fmt: skip

FIELDS = (
    "id object endpoint model errors input_file_id completion_window status output_file_id error_file_id created_at "
    "in_progress_at expires_at finalizing_at completed_at failed_at expired_at cancelling_at cancelled_at "
    "request_counts usage metadata priority cost"
)


@pytest.mark.parametrize("state", list(BatchState))
def test_a_batch_has_every_field_in_every_state(state: BatchState) -> None:
    batch = msgspec.structs.replace(BATCH, state=state, counts=Counts(3, 1, 1, 1), usage=Usage(5, 7, 2, 3))
    wire = batch_object(batch)
    assert " ".join(wire) == FIELDS
    read = WireBatch.model_validate(wire, strict=True)
    assert read.status == state.value
    assert read.request_counts is not None and read.request_counts.model_dump() == {
        "total": 3, "completed": 1, "failed": 1,
    }  # fmt: skip


def test_usage_is_whole_once_a_batch_is_done_and_null_before() -> None:
    done = msgspec.structs.replace(BATCH, state=BatchState.COMPLETED, usage=Usage(5, 7, 2, 3))
    assert batch_object(done)["usage"] == {
        "input_tokens": 5, "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 12,
    }  # fmt: skip
    assert batch_object(BATCH)["usage"] is None


def test_line_errors_are_told_with_their_lines_up_to_a_number() -> None:
    errors = tuple(LineError(number=n, code="c", message="m", remedy="r", param="p") for n in range(1, 151))
    failed = msgspec.structs.replace(BATCH, state=BatchState.FAILED, errors=errors, error_count=1000)
    told = batch_object(failed)["errors"]["data"]
    assert told[0] == {"code": "c", "message": "m r", "param": "p", "line": 1}
    assert len(told) == SHOWN_ERRORS + 1 and told[-1]["line"] is None and "900" in told[-1]["message"]


def test_an_error_of_the_whole_file_has_no_line() -> None:
    failed = msgspec.structs.replace(
        BATCH, errors=(LineError(number=0, code="empty_file", message="m"),), error_count=1
    )
    assert batch_object(failed)["errors"]["data"] == [
        {"code": "empty_file", "message": "m", "param": None, "line": None}
    ]


def test_files_uploads_and_parts_are_what_strict_clients_read() -> None:
    upload = uploads.Upload(
        id=uploads.UploadId("upload_1"), project=HOME, filename="a", purpose="batch", mime_type="x/y", bytes=3,
        created_at=5, expires_at=6,
    )  # fmt: skip
    part = uploads.Part(id=uploads.PartId("part_1"), upload_id=upload.id, bytes=1, created_at=5, blob="b")
    FileObject.model_validate(file_object(FILE), strict=True)
    UploadPart.model_validate(part_object(part), strict=True)
    assert Upload.model_validate(upload_object(upload), strict=True).file is None
    assert Upload.model_validate(upload_object(upload, FILE), strict=True).file is not None


def test_a_page_says_where_it_begins_and_ends() -> None:
    assert page([], more=False) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    wire = page([{"id": "a"}, {"id": "b"}], more=True)
    assert (wire["first_id"], wire["last_id"], wire["has_more"]) == ("a", "b", True)


@pytest.mark.parametrize(
    ("code", "azure"),
    [("invalid_url", "url_mismatch"), ("mismatched_model", "model_mismatch"), ("empty_file", "empty_file")],
)
def test_under_azures_paths_codes_of_lines_are_azures(code: str, azure: str) -> None:
    faults = {"errors": (LineError(number=1, code=code, message="m"),), "error_count": 1}
    for form, word in ((Form.OPENAI, code), (Form.NEBIUS, code), (Form.AZURE, azure)):
        failed = msgspec.structs.replace(BATCH, form=form, state=BatchState.FAILED, **faults)
        assert batch_object(failed)["errors"]["data"][0]["code"] == word
