"""Downloads: whole or not there, and gone on with where they broke off."""

import hashlib
from pathlib import Path

import pytest

from batchyard.transport.api import ApiError
from batchyard.transport.fetching import fetch_file, partial_of
from tests.support.api_script import QUICK, Told, asking, refuses
from tests.support.web_server import answers, breaks_off, serves_ranges

BODY = bytes(range(256)) * 4_000
TAG = f'"{hashlib.sha256(BODY).hexdigest()}"'


def fetched(told: Told, target: Path) -> list[tuple[int, int]]:
    seen = list[tuple[int, int]]()
    assert fetch_file(told.api, "file-1", str(target), lambda done, total: seen.append((done, total))) == len(BODY)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]
    return seen


def test_a_file_comes_whole(tmp_path: Path) -> None:
    with asking(serves_ranges(BODY, TAG)) as told:
        seen = fetched(told, tmp_path / "out")
    assert seen[-1] == (len(BODY), len(BODY))
    assert told.script.seen[0].path == "/v1/files/file-1/content"
    assert told.script.seen[0].headers["accept-encoding"] == "identity" and "range" not in told.script.seen[0].headers


def test_what_breaks_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with asking(serves_ranges(BODY, TAG, part=300_000)) as told:
        fetched(told, tmp_path / "out")
    starts = [seen.headers.get("range") for seen in told.script.seen]
    assert starts == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert {seen.headers.get("if-range") for seen in told.script.seen[1:]} == {TAG}


def test_what_a_killed_process_left_is_gone_on_with(tmp_path: Path) -> None:
    target = tmp_path / "out"
    partial_of(str(target), "file-1").write_bytes(BODY[:500_001])
    with asking(serves_ranges(BODY, TAG)) as told:
        fetched(told, target)
    assert [seen.headers["range"] for seen in told.script.seen] == ["bytes=500000-"]


def test_a_file_that_was_here_but_for_its_name_costs_one_byte(tmp_path: Path) -> None:
    target = tmp_path / "out"
    partial_of(str(target), "file-1").write_bytes(BODY)
    with asking(serves_ranges(BODY, TAG)) as told:
        assert fetched(told, target) == [(len(BODY), len(BODY))]


def test_another_file_of_the_same_name_is_not_mixed_in(tmp_path: Path) -> None:
    target = tmp_path / "out"
    partial_of(str(target), "file-2").write_bytes(b"other")
    with asking(serves_ranges(BODY, TAG)) as told:
        fetch_file(told.api, "file-1", str(target), lambda done, total: None)
    assert target.read_bytes() == BODY


def test_a_server_without_ranges_sends_all_again(tmp_path: Path) -> None:
    with asking(breaks_off(BODY, 100_000), answers(200, BODY)) as told:
        fetched(told, tmp_path / "out")


def test_a_leftover_that_is_longer_than_the_file_is_dropped(tmp_path: Path) -> None:
    target = tmp_path / "out"
    partial_of(str(target), "file-1").write_bytes(BODY * 2)
    with asking(refuses(416, "outside"), serves_ranges(BODY, TAG)) as told:
        fetched(told, target)


def test_a_leftover_of_other_bytes_is_noticed_and_not_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"
    partial_of(str(target), "file-1").write_bytes(b"x" * 1_000)
    with asking(serves_ranges(BODY, TAG)) as told:
        with pytest.raises(ApiError, match="another checksum"):
            fetch_file(told.api, "file-1", str(target), lambda done, total: None)
        assert not target.exists()
        fetched(told, target)


def test_a_file_that_is_replaced_meanwhile_is_read_from_its_beginning(tmp_path: Path) -> None:
    with asking(serves_ranges(b"old" * 400_000, '"old"', part=300_000), serves_ranges(BODY, TAG)) as told:
        fetched(told, tmp_path / "out")


def test_a_download_without_progress_has_an_end(tmp_path: Path) -> None:
    with asking(breaks_off(BODY, 0)) as told, pytest.raises(ApiError, match="No answer"):
        fetch_file(told.api, "file-1", str(tmp_path / "out"), lambda done, total: None)
    assert len(told.script.seen) == QUICK.tries and not (tmp_path / "out").exists()


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    with asking(answers(200, b"")) as told:
        assert fetch_file(told.api, "file-1", str(tmp_path / "out"), lambda done, total: None) == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_a_refusal_is_told(tmp_path: Path) -> None:
    with asking(refuses(404, "No such File object: file-1")) as told, pytest.raises(ApiError, match="No such File"):
        fetch_file(told.api, "file-1", str(tmp_path / "out"), lambda done, total: None)
