"""Files as the Gemini wire shows them."""

import base64

import pytest

from batchyard.dialects.gemini.files import file_object, files_asked, files_page, mime_type_of, name_of, named_in
from batchyard.dialects.gemini.models import Page
from batchyard.dialects.gemini.unfit import Unfit
from batchyard.domain.file import FileId
from tests.support.tenants import START, a_file

BASE = "https://h/gem"


def test_a_file_is_shown_with_its_addresses_and_its_hash_as_text() -> None:
    file = a_file(
        id=FileId("file-abc"), bytes=146, sha256="1474b5", display_name="night", mime_type="jsonl",
        expires_at=START + 172_800, purpose="user_data",
    )  # fmt: skip
    assert file_object(file, BASE) == {
        "name": "files/abc",
        "displayName": "night",
        "mimeType": "jsonl",
        "sizeBytes": "146",
        "createTime": "2026-09-21T14:13:20Z",
        "updateTime": "2026-09-21T14:13:20Z",
        "expirationTime": "2026-09-23T14:13:20Z",
        "sha256Hash": base64.b64encode(b"1474b5").decode(),
        "uri": "https://h/gem/v1beta/files/abc",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }


def test_what_nobody_said_is_left_out() -> None:
    shown = file_object(a_file(purpose="user_data"), BASE)
    assert not {"displayName", "expirationTime", "downloadUri"} & shown.keys()


def test_a_result_can_be_downloaded() -> None:
    shown = file_object(a_file(name="batch-0", purpose="batch_output"), BASE)
    assert (shown["name"], shown["source"], shown["mimeType"]) == ("files/batch-0", "GENERATED", "application/jsonl")
    assert shown["downloadUri"] == "https://h/gem/v1beta/files/batch-0:download?alt=media"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"purpose": "batch", "filename": "x"}, "application/jsonl"),
        ({"purpose": "user_data", "filename": "a.b.PNG"}, "image/png"),
        ({"purpose": "user_data", "filename": "png"}, "image/png"),
        ({"purpose": "user_data", "filename": "x"}, "application/octet-stream"),
        ({"purpose": "batch", "filename": "x", "mime_type": "nonsense"}, "nonsense"),
    ],
)
def test_a_files_kind_is_what_its_uploader_said_or_what_its_purpose_and_name_tell(
    changes: dict[str, str], kind: str
) -> None:
    assert mime_type_of(a_file(**changes)) == kind


def test_a_file_without_a_name_of_its_own_goes_by_its_id() -> None:
    assert name_of(a_file(id=FileId("file-3fK29x"))) == "files/3fK29x"
    assert name_of(a_file(id=FileId("file-3fK29x"), name="mine")) == "files/mine"


@pytest.mark.parametrize(
    ("path", "name", "download"),
    [
        ("abc", "abc", False),
        ("abc:download", "abc", True),
        ("files/abc", "abc", False),
        ("http://h:1/v1beta/files/abc", "abc", False),
        ("http:/h/gem/v1beta/files/abc:download", "abc", True),
        ("", "", False),
    ],
)
def test_a_path_names_a_file_by_what_stands_last(path: str, name: str, download: bool) -> None:
    found = named_in(path)
    assert (found.name, found.download) == (name, download)


def test_a_page_goes_on_from_its_last_file() -> None:
    files = [a_file(), a_file()]
    page = files_page(files, BASE, more=True)
    assert [each["name"] for each in page["files"]] == [name_of(file) for file in files]
    assert files_asked({"pageToken": page["nextPageToken"]}) == Page(10, files[-1].id)
    assert files_page([], BASE, more=False) == {"files": []}


@pytest.mark.parametrize(("size", "meant"), [("", 10), ("0", 10), ("1", 1), ("101", 100)])
def test_a_page_has_a_size_within_bounds(size: str, meant: int) -> None:
    assert files_asked({"pageSize": size}).size == files_asked({"page_size": size}).size == meant


@pytest.mark.parametrize("query", [{"pageSize": "-1"}, {"pageSize": "x"}, {"pageToken": "?"}, {"pageToken": "/w=="}])
def test_a_page_that_cannot_be_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Unfit):
        files_asked(query)
